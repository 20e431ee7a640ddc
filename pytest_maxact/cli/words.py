"""How the command says a setting: by its option, or by what stands in its place."""

from pytest_maxact.errors import worded

_IN_PLACE = {"model": "PATH_OR_HUB_ID", "replay": "RECORD", "save": "maxact measure -o"}


def argument(field: str) -> str:
    """`max_samples` is `--max-samples`; the checkpoint and the Record have no option of their own."""
    return _IN_PLACE.get(field, f"--{field.replace('_', '-')}")


def as_typed(text: str) -> str:
    """A text with its settings as the command takes them."""
    return worded(text, argument)
