"""Everything that is raised on purpose, and how its text names a setting.

    Exception
      MaxactError         what, where and how to fix it
        InputError        the request is wrong
        MeasureError      there is no measurement, or not a whole one
          BrokenOffError  another process of it died: what this one has is worth going on from

These are the two ways in which a gate gives no verdict. A breach is neither: it is a failed check.

A text never knows who reads it. It names a setting by its field, `setting("max_seq_len")`, and each door says it as its
user types it, by `worded`: an option of pytest, an option or argument of the command, an argument of the callback.
Until then the mark stays in the text, from process to process: what builds a text on another takes `marked(error)`.
"""

import functools
import re
import unicodedata
from collections.abc import Callable

Words = Callable[[str], str]
"""How a door says a setting, by its field."""

_OPEN, _CLOSE = "\ue000", "\ue001"
_MARK = re.compile(f"{_OPEN}([a-z_]+){_CLOSE}")
_HALF = re.compile(f"{_OPEN}[a-z_]*$")
_OTHER_HALF = re.compile(f"^[a-z_]*{_CLOSE}")
_ELLIPSIS = " ..."
_OWN_BREAK = re.compile(r"\n(?=  )")
_COMMAND = re.compile(r"^\s*(?=::)")
_COMMAND_ANYWHERE = re.compile(r"#(?=#\w*\[)")


class MaxactError(Exception):
    """Base of everything this package raises on purpose; its text says what, where and how to fix it."""

    def __str__(self) -> str:
        return self.worded(neutral)

    def worded(self, words: Words) -> str:
        """The text with its settings as a door says them."""
        return message(marked(self), words)


class InputError(MaxactError):
    """The request itself is wrong (a path, an option, a limits file); found before any weights are loaded. pytest exits
    with 4.
    """


class MeasureError(MaxactError):
    """The measurement could not be made, or not in full. Every check of the gate becomes an ERROR; pytest exits with
    1.
    """


class BrokenOffError(MeasureError):
    """Another process that shares the measurement was killed, or is gone: nothing speaks against what was seen here."""


def setting(field: str) -> str:
    """A setting inside a text, for a door to word."""
    return f"{_OPEN}{field}{_CLOSE}"


def neutral(field: str) -> str:
    """A setting where no door is known: its field, `max_seq_len`."""
    return f"`{field}`"


def message(text: str, words: Words) -> str:
    """What was raised, or a part of it, for people, likewise: no name that stands in it begins a line."""
    return worded(own_lines(text), words)


def in_a_line(text: str, words: Words) -> str:
    """Likewise, where there is one line for it: what to do comes behind what is wrong."""
    return "; ".join(line.strip() for line in message(text, words).split("\n"))


def own_lines(text: str) -> str:
    """A text of ours, whose lines after the first begin with two blanks: any other break of a line is part of a name,
    and is spelled out.
    """
    return "\n".join(map(shown, _OWN_BREAK.split(text)))


def worded(text: str, words: Words) -> str:
    """A text for people, its settings in a door's words; nothing in it is obeyed by a terminal or a CI system."""
    return "\n".join(map(uncommanded, printable(text, words).split("\n")))


def printable(text: str, words: Words) -> str:
    """The same for a part of a line, of which it is not known where it comes to stand."""
    lines = (_COMMAND_ANYWHERE.sub(r"#\\", shown(line)) for line in text.split("\n"))
    return named("\n".join(lines), words)


def named(text: str, words: Words) -> str:
    """A text with its settings in a door's words, and else as it is: for data."""
    return _MARK.sub(lambda found: words(found[1]), text)


def marked(error: BaseException) -> str:
    """What an exception says, its settings still to be worded."""
    return Exception.__str__(error) if isinstance(error, MaxactError) else str(error)


def shown(text: str) -> str:
    """Text of others, a name or a key, as a terminal may show it, on one line: what is no printable character is
    spelled out, `\\x1b`; marks of settings stay.
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def one_line(text: str) -> str:
    """A text for people on one line, likewise."""
    return uncommanded(shown(text))


def uncommanded(line: str) -> str:
    """A line of a log that is no command to a CI system: GitHub obeys one that begins with `::`, and `##[name]`
    anywhere, as Azure does `##vso[name]`, and TeamCity `##teamcity[name]`.
    """
    return _COMMAND_ANYWHERE.sub(r"#\\", _COMMAND.sub(r"\g<0>\\", line))


@functools.lru_cache(maxsize=4096)
def name_in_id(name: str) -> str:
    """A name of others as part of an id, which is printed, and pasted again: on one line, obeyed by nobody, never the
    same as that of another name, and without the bracket from which on pytest takes an id for parameters.
    """
    return shown(name.replace("\\", r"\\").replace("[", r"\x5b"))


def _visible(character: str) -> str:
    if character.isprintable() or character in (_OPEN, _CLOSE) or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def first_line(error: BaseException) -> str:
    """What an exception says, often one of another library, on one line of at most 200 characters, cut at a word;
    settings are still to be worded.
    """
    text = marked(error).strip()
    return cut(text.splitlines()[0], 200) if text else type(error).__name__


def cut(text: str, most: int) -> str:
    """A text in at most so many characters, of a longer one the words that fit and an ellipsis. A path or an id that
    alone takes most of them keeps both ends; no mark of a setting is cut in two.
    """
    if len(text) <= most:
        return text
    room = most - len(_ELLIPSIS)
    if room < 2:
        return _HALF.sub("", text[:most])
    words = re.match(r"(.*\S)\s", text[: room + 1], re.DOTALL)
    if words and len(words[1]) >= room // 2:
        return f"{words[1]}{_ELLIPSIS}"
    begins, ends = text[: room - room // 2], text[-(room // 2) :]
    after = re.search(r"\s", text[room:])
    if after and len(text) - len(ends) >= room + after.start():
        ends = ends.partition(" ")[2]
    return f"{_HALF.sub('', begins)}{_ELLIPSIS.strip()}{_OTHER_HALF.sub('', ends)}"
