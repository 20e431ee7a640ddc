"""Names of others, as a figure may show them: on one line, of bounded length, with nothing in them that is obeyed."""

from pytest_maxact.errors import cut, neutral, worded

MOST = 80
"""Characters of a name, a token or a path; a name of ten thousand would be most of a page."""


def plain(text: str, most: int = MOST) -> str:
    """A name: what is no printable character is spelled out, marks of settings are worded, and a long one is cut."""
    return cut(worded(text.replace("\n", "\\n"), neutral), most)


def called(model: str) -> str:
    """A model as figures call it: of the path of a folder its last part, an id of the hub as it is."""
    parts = model.replace("\\", "/").rstrip("/").split("/")
    return plain(model if len(parts) == 2 and parts[0] not in ("", ".", "..", "~") else parts[-1] or model, 48)
