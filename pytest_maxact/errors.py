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
_MARKS = re.compile(f"[{_OPEN}{_CLOSE}]")
_HALF = re.compile(f"{_OPEN}[a-z_]*$")
_OTHER_HALF = re.compile(f"^[a-z_]*{_CLOSE}")
_ELLIPSIS = " ..."
_OWN_BREAK = re.compile(r"\n(?=  )")
_COMMAND = re.compile(r"^\s*(?=::)")
_COMMAND_ANYWHERE = re.compile(r"#(?=#\w*\[)")
_WORD, _BEGINNING, _ENDING = 300, 1400, 600
"""Characters of a word at most, and of a line that is longer than both together what is kept of either end: a name may
have any length.
"""
_LONG = re.compile(rf"\S{{{_WORD + 1},}}")
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""What counts as printable and has no look of its own, by Default_Ignorable_Code_Point of Unicode: names that differ in
it look alike.
"""
_JOINER, _STYLES = "\u200d", "\ufe0e\ufe0f"
_PICTURES = "\u203c\u2049\u2139\u3030"
"""Emoji that Unicode counts as no symbols."""


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
    return brief(worded(own_lines(text), words))


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
    return _MARKS.sub(lambda found: _spelled(found[0]), named("\n".join(lines), words))


def named(text: str, words: Words) -> str:
    """A text with its settings in a door's words, and else as it is: for data."""
    return _MARK.sub(lambda found: words(found[1]), text)


def marked(error: BaseException) -> str:
    """What an exception says, its settings still to be worded."""
    return Exception.__str__(error) if isinstance(error, MaxactError) else str(error)


def shown(text: str) -> str:
    """Text of others, a name or a key, as a terminal may show it, on one line: what is no printable character, or has
    no look of its own, is spelled out, `\\x1b`; what joins or styles emoji stays, and marks of settings.
    """
    if text.isprintable() and (text.isascii() or not _UNSEEN.search(text)):
        return text
    return "".join(_visible(text, place) for place in range(len(text)))


def one_line(text: str) -> str:
    """A text for people on one line, likewise."""
    return uncommanded(shown(text))


def uncommanded(line: str) -> str:
    """A line of a log that is no command to a CI system: GitHub obeys one that begins with `::`, and `##[name]`
    anywhere, as Azure does `##vso[name]`, and TeamCity `##teamcity[name]`.
    """
    return _COMMAND_ANYWHERE.sub(r"#\\", _COMMAND.sub(r"\g<0>\\", line))


def uncommanded_json(text: str) -> str:
    """The same of JSON in ASCII, no line of which begins with `::`; who reads it finds what there was."""
    return _COMMAND_ANYWHERE.sub(r"\\u0023", text)


@functools.lru_cache(maxsize=4096)
def name_in_id(name: str) -> str:
    """A name of others as part of an id, which is printed, and pasted again: on one line, obeyed by nobody, never the
    same as that of another name, and without the bracket from which on pytest takes an id for parameters.
    """
    return shown(name.replace("\\", r"\\").replace("[", r"\x5b"))


def _visible(text: str, place: int) -> str:
    character = text[place]
    if character in (_OPEN, _CLOSE) or unicodedata.category(character) == "Zs" or _is_of_emoji(text, place):
        return character
    if character.isprintable() and not _UNSEEN.match(character):
        return character
    return _spelled(character)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _is_of_emoji(text: str, place: int) -> bool:
    """Whether a character joins two pictures, or says how the one before it is drawn."""
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if text[place] == _JOINER:
        drawn = text[place - 2 : place - 1] if before and before in _STYLES else before
        return _is_picture(drawn) and _is_picture(after)
    return text[place] in _STYLES and (_is_picture(before) or after == "\u20e3")  # of a key, as in 1\ufe0f\u20e3


def _is_picture(character: str) -> bool:
    """Whether it is an emoji, or another symbol beyond ASCII, or the colour of a skin."""
    if not character or character.isascii():
        return False
    return character in _PICTURES or unicodedata.category(character) in ("So", "Sm", "Sk")


def first_line(error: BaseException) -> str:
    """What an exception says, often one of another library, on one line of at most 200 characters, cut at a word;
    settings are still to be worded.
    """
    text = marked(error).strip()
    return cut(text.splitlines()[0], 200) if text else type(error).__name__


def brief(text: str) -> str:
    """Lines of which words and lines that are longer than any need to be keep both ends: names are of any length, and
    what is told beside them is to be found.
    """
    if len(text) <= _WORD:
        return text
    text = _LONG.sub(lambda found: f"{found[0][: _WORD // 2]}...{found[0][-_WORD // 2 :]}", text)
    lines = (
        line if len(line) <= _BEGINNING + _ENDING else f"{line[:_BEGINNING]} ... {line[-_ENDING:]}"
        for line in text.split("\n")
    )
    return "\n".join(lines)


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
