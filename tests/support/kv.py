"""Records of attention over tiny models with something planted, and what is found of them."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from pytest_maxact.judge.limits.attention import with_attention
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.record import Record
from tests.support import tiny
from tests.support.measuring import record_of

KV = tuple(name for name, scheme in SCHEMES.items() if scheme.cache)
LENGTHS = (9, 40, 5, 20, 17, 8, 40, 33)
Plant = Callable[[Any], None]
"""Given a layer's attention, changes its weights."""


def attended(folder: Path, model_type: str, plant: Plant | None = None, layer: int = 1, **options: Any) -> Record:
    """The Record of a random model, of which the attention of one layer was changed. `schemes` as of a run; the rest of
    `options` are of its config.
    """
    measured = {name: options.pop(name) for name in ("schemes", "sites", "batch_tokens") if name in options}
    model = tiny.random_model(model_type, **options)
    if plant:
        with torch.no_grad():
            plant(model.get_decoder().layers[layer].self_attn)
    shutil.rmtree(folder / "model", ignore_errors=True)
    checkpoint = tiny.save(folder / "model", model)
    texts = tiny.write_corpus(folder / "corpus.jsonl", tiny.sentences(LENGTHS))
    return record_of(checkpoint, texts, **{"sites": "attention", **measured})


def findings(record: Record, files: Sequence[Path] = ()) -> list[Finding]:
    """What the limits on attention give."""
    documents = load_limits(files[0] if files else None)
    sites = [reading.site for reading in record.sites.values()]
    rules = select_rules(documents, identity_of(record.provenance, False), sites, "generic")
    known = len(rules.limits)
    return judge(record, with_attention(rules, documents, sites).limits[known:])


def breaches(record: Record) -> dict[str, str]:
    """The words of those that fail, by the id of their check."""
    return {one.limit.check: one.message for one in findings(record) if not one.passed}
