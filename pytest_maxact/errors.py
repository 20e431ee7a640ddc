"""The two ways a gate cannot give a verdict. A breach is neither: it is a failed check."""


class MaxactError(Exception):
    """Base of everything this package raises on purpose; its text says what, where and how to fix it."""


class InputError(MaxactError):
    """The request itself is wrong (a path, an option, a limits file); found before any weights are loaded. pytest exits
    with 4.
    """


class MeasureError(MaxactError):
    """The measurement could not be made, or not in full. Every check of the gate becomes an ERROR; pytest exits with
    1.
    """


def first_line(error: BaseException) -> str:
    """What an exception of another library says, on one line of at most 200 characters."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
