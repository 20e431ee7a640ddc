"""What a card is given of a run: an account in; the result for its metadata, made by huggingface_hub's own classes, and
the block for its text out.

A run that failed, or could not measure, is written as one: no card keeps a PASS of an earlier run. Nothing in it tells
when it was written, so that the same run gives the same card.
"""

import math
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pytest_maxact.judge.account import Account
from pytest_maxact.judge.trust.interval import Interval
from pytest_maxact.numbers.exceedance import LEVEL
from pytest_maxact.report.card.card import updated
from pytest_maxact.report.card.figures import (
    SOURCE,
    URL,
    Stated,
    confidence,
    corpus_name,
    model_name,
    portrait_of,
    stated,
)
from pytest_maxact.report.card.front import Entry
from pytest_maxact.report.libraries import missing
from pytest_maxact.report.markdown.facts import facts, low_bits
from pytest_maxact.report.markdown.fitting import fitted
from pytest_maxact.report.markdown.summary import breaches_part, close_part, list_of, verdict_words, waived_part
from pytest_maxact.report.markdown.text import heading, prose, row

MOST_BYTES = 24 * 1024


def card(account: Account, place: Path) -> bytes:
    """The card at a place as it is to be; of a run that has not finished its metadata says so only where it says
    something of an earlier one. Raises InputError where that is no card, or huggingface_hub is not installed.
    """
    content = place.read_bytes() if place.is_file() else b""
    return updated(content, entry_of(account), block_of(account), anew=account.finished)


def entry_of(account: Account) -> Entry:
    """One result, of all figures of the run. Raises InputError."""
    try:
        from huggingface_hub import EvalResult, ModelCardData
    except ImportError as error:
        raise missing("the model card takes", "huggingface_hub") from error
    portrait, name = portrait_of(account), model_name(account)
    provenance = portrait.provenance if portrait else None
    results = [
        EvalResult(
            task_type="text-generation" if provenance is None or provenance.predicts else "feature-extraction",
            dataset_type="text",
            dataset_name=corpus_name(provenance) if provenance else "none",
            dataset_revision=provenance.corpus_sha256 if provenance else None,
            metric_type=one.type,
            metric_name=one.name,
            metric_value=_plain(one.value),
            metric_args=_args(one) or None,
            source_name=SOURCE,
            source_url=URL,
        )
        for one in stated(account)
    ]
    data: Any = ModelCardData(model_name=name, eval_results=results)
    (model,) = data.to_dict()["model-index"]
    (result,) = model["results"]
    return Entry(of=name, source=SOURCE, result=result)


def block_of(account: Account) -> str:
    """Markdown."""
    portrait = portrait_of(account)
    words = [f"**{prose(one)}**" for one in verdict_words(account)]
    parts = [list_of(words, "line", mark="")]
    verdict = account.outcome.verdict if account.outcome else None
    if verdict and verdict.breaches:
        parts.append(breaches_part(verdict.breaches, account.root))
    if verdict:
        parts += [close_part(verdict.close, account.root), waived_part(verdict.waived, account.root)]
    return "\n".join(
        [
            "## Activations and low bits",
            "",
            fitted(parts, MOST_BYTES),
            *(_figures(account) if portrait else ()),
            _made(),
        ]
    )


def _figures(account: Account) -> Iterator[str]:
    portrait = portrait_of(account)
    if portrait is None:
        return
    yield from heading(["", ""])
    yield from (row([label, said]) for label, said in facts(portrait))
    yield ""
    if portrait.deploy:
        yield from low_bits(portrait)
        yield ""


def _made() -> str:
    return f"Measured and judged by [pytest-maxact]({URL}) {version(SOURCE)}."


def _plain(value: float | str) -> float | str:
    """What readers of metadata take: YAML has words for what is no finite number, of which not all know."""
    return value if isinstance(value, str) or math.isfinite(value) else str(value)


def _args(one: Stated) -> dict[str, Any]:
    return {**one.about, **_ends(one.interval)}


def _ends(interval: Interval | None) -> dict[str, Any]:
    """Of an average by the names that readers know; of what has no such interval with what it is."""
    if interval is None:
        return {}
    if one_level := confidence(interval):
        low, high = one_level
        return {"interval_low": low, "interval_high": high, "interval_confidence": LEVEL}
    ends = {"between_low": interval.low, "between_high": interval.high}
    return {**{name: _plain(end) for name, end in ends.items()}, "between_means": interval.meaning}
