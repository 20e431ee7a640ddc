"""Paths as users type them: a text in, one that the system can look for out, its `~` replaced, or why it is none.

Guards that what no file can be called ends in a sentence wherever it was typed, before anything looks for it: the
system's own calls raise four kinds of errors for such texts, some only where they are written to.
"""

import argparse
import errno
import os
from pathlib import Path

from pytest_maxact.errors import InputError, cut, shown

_MOST_SHOWN = 60
_NEVER = {
    errno.ENAMETOOLONG: "is longer than a path may be here; give a shorter one",
    errno.ELOOP: "is a link that leads back to itself; mend the link, or give another path",
}
"""What the system says of a text under which nothing can be read nor written."""


def place(text: str) -> str:
    """A parser of options: of a path, or a hub id. A variable of a script that was never set is none: nothing would be
    read or written, unsaid.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; give a file or folder")
    found, fault = _looked_for(text)
    if fault:
        raise argparse.ArgumentTypeError(fault)
    return found


def expanded(text: "str | os.PathLike[str]") -> Path:
    """The same outside of the command line. Raises InputError."""
    found, fault = _looked_for(os.fspath(text))
    if fault:
        raise InputError(fault.replace("; ", "\n  ", 1))
    return Path(found)


def _looked_for(text: str) -> tuple[str, str]:
    """The text, with a home folder for its `~`, and what is wrong with it."""
    found, fault = text, ""
    try:
        found = os.path.expanduser(text)
        if text.startswith("~") and found == text:
            fault = "begins with ~, and whose home that is, is not known here; write the path in full"
            if os.path.lexists(text):
                fault = f"{fault}, or ./{shown(cut(text, _MOST_SHOWN))} for what lies in this folder under that name"
        os.stat(found)
    except OSError as error:
        fault = fault or _NEVER.get(error.errno or 0, "")
    except ValueError:
        what = "a NUL character" if "\0" in text else "half a character"
        fault = f"has {what} in it, which no path has; give it without"
    return found, f"{shown(cut(text, _MOST_SHOWN))} {fault}" if fault else ""
