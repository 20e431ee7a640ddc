"""Names that nobody knows: what was typed, and the names there are, in; which of them was probably meant, out. Standard
library only.

Guards that a misspelt key or option of the gate is told from one of another plugin, and never lies idle.
"""

import re
from collections.abc import Iterable

_LIKE = 0.6
"""Of two names, how alike they are for one to be suggested for the other, as difflib counts it."""

_STRAYED = 0.85
"""The same of whole names whose first part is not ours to the letter: other plugins have names too."""

_SAME_WORD = 0.75
"""The same of what follows a first part that is written with other separators, as in `--max-act-model`."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The name that a misspelt one is most like, whatever its case and separators; empty where it is like none."""
    return _nearest(word, known, _LIKE)


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """`; did you mean NAME?`, or nothing where none is near. `prefix`: what stands before every name."""
    close = nearest(word, known)
    return f"; did you mean {prefix}{close}?" if close else ""


def ours(name: str, prefix: str, known: Iterable[str]) -> str | None:
    """Of a key or an option that nobody knows, which one of ours was meant: a name of `known`, empty where it begins as
    ours do and is like none; None where it is somebody else's.
    """
    known, plain = tuple(known), _plain(name)
    if found := re.search(rf"(?<![a-z0-9]){prefix}(?![a-z0-9])(.*)", name.lower()):
        return nearest(found[1], known)
    if plain == prefix:
        return ""
    if plain.startswith(prefix) and (close := _nearest(plain.removeprefix(prefix), known, _SAME_WORD)):
        return close
    whole = {f"{prefix}{_plain(one)}": one for one in known}
    return whole.get(_nearest(plain, whole, _STRAYED))


def _nearest(word: str, known: Iterable[str], least: float) -> str:
    from difflib import get_close_matches  # only where something is wrong already

    plain = {_plain(name): name for name in known}
    close = get_close_matches(_plain(word), plain, n=1, cutoff=least)
    return plain[close[0]] if close else ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
