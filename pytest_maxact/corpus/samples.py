"""Samples: the built-in corpus, a JSON-lines reader, the category-proportional subset and the two splits.

The built-in corpus was written for this project (Apache-2.0): seven categories in the proportions of arXiv 2605.15572,
in files of plain text whose samples begin with a line `%%% <id> <language>`. Choices depend on a sample's content and a
seed, never on its place in a file.
"""

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from pytest_maxact.errors import InputError, first_line, setting
from pytest_maxact.settings.userfiles import BOM, content_of, is_piped, lying, reachable, refuse_stand_in, unreadable

CATEGORIES = ("math", "code", "web_english", "knowledge", "chinese", "minority_scripts", "web_other")
_DIGITS = 12
"""So many of its digest call a sample that is given no id."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADER = re.compile(r"^%%% (?P<id>[a-z0-9-]+) (?P<language>[A-Za-z-]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One text, or the `input_ids` of one in another tokenizer's vocabulary. `digest` identifies its content
    (SHA-256), `place` is where it was read. `tokenizer`: the digest of the one whose ids they are, where that is said:
    a model that has it runs the very ids, whatever text they make.
    """

    id: str
    category: str
    text: str | None = None
    input_ids: tuple[int, ...] | None = None
    place: str = field(default="", compare=False)
    tokenizer: str | None = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", _digest(self.category, _content(self.text, self.input_ids)))

    @property
    def text_digest(self) -> str:
        """Of the content alone, whatever its category."""
        return hashlib.sha256(_content(self.text, self.input_ids).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def called(self) -> str:
        """Its id, and where it was read if that is known."""
        return f"{self.id} ({self.place})" if self.place else self.id


def _content(text: str | None, input_ids: Sequence[int] | None) -> str:
    return text if text is not None else " ".join(map(str, input_ids or ()))


def _digest(category: str, content: str) -> str:
    # a category with a NUL of its own is spelled, for it would end where it does not
    parts = json.dumps([category, content]) if "\0" in category else f"{category}\0{content}"
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()


def builtin_samples() -> list[Sample]:
    """The corpus that travels with the package."""
    folder = files("pytest_maxact.corpus") / "builtin"
    samples = []
    for category in CATEGORIES:
        text = (folder / f"{category}.txt").read_text(encoding="utf-8")
        headers = list(_HEADER.finditer(text))
        ends = [*(header.start() for header in headers[1:]), len(text)]
        for header, end in zip(headers, ends, strict=True):
            samples.append(Sample(id=header["id"], category=category, text=text[header.end() : end].strip("\n")))
    return samples


def read_jsonl(path: Path, called: str | None = None) -> list[Sample]:
    """Samples of a file of `{"text", "category"}` or `{"input_ids", "category"}` lines, with an optional `"id"`;
    without one a sample is called by the beginning of its digest, so that parts of a file name their samples as the
    whole does. `called`: what errors call the file, its path by default.

    Raises InputError that names the line of anything else.
    """
    if not is_piped(path) and not reachable(path).is_file():
        raise InputError(
            f"no corpus at {path}{lying(path)}\n"
            f"  {setting('corpus')} takes a file of JSON lines; without it the built-in corpus is used"
        )
    called = called or str(path)
    samples: list[Sample] = []
    seen: dict[str, int] = {}
    again: dict[str, int] = defaultdict(int)
    try:
        content = content_of(path).removeprefix(BOM)
    except OSError as error:
        raise unreadable(path, error) from error
    refuse_stand_in(path)
    for number, raw in enumerate(content.splitlines(), start=1):
        if not raw.strip():
            continue
        sample = _parse_line(raw, f"{called}:{number}")
        if not sample.id:
            again[sample.digest] += 1
            times = again[sample.digest]
            sample = replace(sample, id=sample.digest[:_DIGITS] + (f"-{times}" if times > 1 else ""))
        if sample.id in seen:
            raise InputError(
                f"{called}:{number}: sample id {sample.id!r} is that of line {seen[sample.id]}; ids must differ"
            )
        seen[sample.id] = number
        samples.append(sample)
    if not samples:
        raise InputError(f'{called}: the corpus is empty\n  write one {{"text": ..., "category": ...}} object per line')
    return samples


def _parse_line(raw: bytes, where: str) -> Sample:
    """A sample; its id is empty where the line gives none."""
    form = 'a line is {"text": "...", "category": "..."} or {"input_ids": [...], "category": "..."}'
    try:
        entry: Any = json.loads(raw.decode("utf-8"))
        json.dumps(entry, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not a line of UTF-8 JSON ({first_line(error)})\n  {form}") from error
    if not isinstance(entry, dict):
        raise InputError(f"{where}: {type(entry).__name__} where an object was expected\n  {form}")
    category, text, ids = entry.get("category"), entry.get("text"), entry.get("input_ids")
    if not isinstance(category, str) or not category:
        raise InputError(f'{where}: no "category"\n  {form}')
    name = "" if entry.get("id") is None else str(entry["id"])
    if not (name.isprintable() and category.isprintable()) and any(map(_is_control, name + category)):
        raise InputError(f"{where}: a control character in the id or category\n  name samples by what can be shown")
    if isinstance(text, str) and text.strip() and ids is None:
        return Sample(id=name, category=category, text=text, place=where)
    if text is None and isinstance(ids, list) and ids and all(type(i) is int and i >= 0 for i in ids):
        whose = entry.get("tokenizer_sha256")
        if whose is not None and not (isinstance(whose, str) and _SHA256.fullmatch(whose)):
            raise InputError(f'{where}: "tokenizer_sha256" is no SHA-256\n  leave it out, and name the tokenizer')
        return Sample(id=name, category=category, input_ids=tuple(ids), place=where, tokenizer=whose)
    raise InputError(f'{where}: needs either a non-empty "text" or "input_ids" of whole numbers, not both\n  {form}')


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def subset(samples: Sequence[Sample], size: int, seed: int) -> list[Sample]:
    """`size` samples in the proportions of the categories (largest remainder), drawn by `seed`; all of them where there
    are no more.
    """
    if size >= len(samples):
        return list(samples)
    groups = _by_category(samples, seed)
    exact = {category: size * len(group) / len(samples) for category, group in groups.items()}
    quota = {category: int(share) for category, share in exact.items()}
    by_remainder = sorted(groups, key=lambda category: (quota[category] - exact[category], category))
    for category in by_remainder[: size - sum(quota.values())]:
        quota[category] += 1
    return [sample for category in sorted(groups) for sample in groups[category][: quota[category]]]


def interleaved(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """All samples in an order whose every prefix keeps the categories' proportions, as nearly as whole samples
    allow.
    """
    placed = []
    for category, group in _by_category(samples, seed).items():
        placed += [((rank + 0.5) / len(group), category, sample) for rank, sample in enumerate(group)]
    return [sample for *_, sample in sorted(placed, key=lambda entry: entry[:2])]


def assign_splits(samples: Iterable[Sample]) -> dict[str, str]:
    """Sample id -> "calibration" (every third) or "evaluation", stratified by category; the paper's 128 : 256.

    Raises InputError for fewer than two samples: one split would be empty.
    """
    ordered = [sample for _, group in sorted(_by_category(list(samples), 0).items()) for sample in group]
    if len(ordered) < 2:
        raise InputError(
            "the corpus has fewer than two samples; calibration and evaluation need at least one each\n"
            f"  add samples, or raise {setting('max_samples')}"
        )
    return {sample.id: "calibration" if rank % 3 == 0 else "evaluation" for rank, sample in enumerate(ordered)}


def _by_category(samples: Sequence[Sample], seed: int) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(
        samples, key=lambda sample: (hashlib.sha256(f"{seed}:{sample.digest}".encode()).digest(), sample.id)
    ):
        groups[sample.category].append(sample)
    return groups
