"""A model card: its bytes, or none, and what a run has to say in; the card with our block and our result in it out. All
else stays byte for byte: line breaks, a byte order mark, whether there is a last line break.

Source of the form: https://huggingface.co/docs/hub/model-cards, and huggingface_hub's own reading of it.
"""

import codecs
import re
from pathlib import Path

from pytest_maxact.report.card.body import has_block, with_block
from pytest_maxact.report.card.front import Entry, broken, with_entry
from pytest_maxact.report.libraries import missing

CARD_NAME = "README.md"
"""What the hub reads beside the weights, and no loader of weights does."""
_SUFFIXES = (".md", ".markdown")
_MOST_BYTES = 1 << 24


def updated(content: bytes, entry: Entry, block: str, *, anew: bool = True) -> bytes:
    """`anew`: whether it gets our result where it has none yet. Raises InputError for a card that is broken."""
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    try:
        text = content.removeprefix(mark).decode()
    except UnicodeDecodeError as error:
        raise broken("it is no text in UTF-8") from error
    try:
        return mark + _updated(text, entry, block, anew).encode()
    except RecursionError as error:
        raise broken("its front matter holds itself, or is nested too deep") from error


def _updated(text: str, entry: Entry, block: str, anew: bool) -> str:
    found = re.search(r"\r?\n", text)
    line_break = found[0] if found else "\n"
    front = _front_pattern().search(text)
    before, said, after = "", "", ""
    if front:
        before, said = front[1], with_entry(front[2], entry, line_break, anew=anew)
        after = f"{front[3]}{'' if front[4] else line_break}"
    elif anew:
        before, after = f"---{line_break}", f"{line_break}---{line_break}"
        said = with_entry("", entry, line_break)
    new = f"{before}{said}{after}{with_block(text[front.end() if front else 0 :], block, line_break)}"
    _require_front(new, (before, said, after))
    if before:
        _require_read(new, entry, anew)
    return new


def is_card(path: Path) -> bool:
    """Whether a file may have our block put in: text that begins as a card does, has our block, or is called Markdown,
    for a card without front matter is plain text.
    """
    try:
        content = path.read_bytes()[:_MOST_BYTES]
        text = content.removeprefix(codecs.BOM_UTF8).decode()
    except (OSError, ValueError):
        return False
    if "\0" in text:
        return False
    return path.suffix.lower() in _SUFFIXES or has_block(text) or bool(_front_pattern().search(text))


def _front_pattern() -> re.Pattern[str]:
    try:
        from huggingface_hub.repocard import REGEX_YAML_BLOCK
    except ImportError as error:
        raise missing("the model card takes", "huggingface_hub") from error
    return REGEX_YAML_BLOCK


def _require_front(text: str, wanted: tuple[str, str, str]) -> None:
    """Raise InputError where huggingface_hub, which says nothing of it, would find other front matter, or none."""
    found = _front_pattern().search(text)
    if ((found[1], found[2], found[3]) if found else ("", "", "")) != wanted:
        raise broken("huggingface_hub would not find its front matter again")


def _require_read(text: str, entry: Entry, anew: bool) -> None:
    """Raise InputError where huggingface_hub would not read what was written."""
    from huggingface_hub import ModelCard, ModelCardData

    try:
        data = ModelCard(text).data
        results = (data.eval_results or []) if isinstance(data, ModelCardData) else []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken(f"huggingface_hub does not read it: {str(error).splitlines()[0]}") from error
    if anew and not any(one.source_name == entry.source for one in results):
        raise broken("huggingface_hub does not find the result in it")
