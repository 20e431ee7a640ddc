"""Waivers, and limits and Records that they speak about."""

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.waivers import Waiver, waivers_of
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.record.record import Record
from tests.support import records

HEAD = "version: 1\nextends: builtin\n"
HIDDEN = "layers.0.hidden"
DAY = date(2026, 3, 31)
TODAY = datetime.now(timezone.utc).date()
SOON = TODAY + timedelta(days=30)
ENTRY = "site: layers.3.hidden, reason: known, owner: ann, until: 2026-03-31"


def waiver(
    site: str = HIDDEN, metric: str = "*", checkpoint: str = "*", until: date = DAY, up_to: float | None = None
) -> Waiver:
    return Waiver(
        site=site,
        metric=metric,
        checkpoint=checkpoint,
        reason="known",
        owner="ann",
        until=until,
        file="limits.yaml",
        line=4,
        up_to=up_to,
    )


def limit(
    bound: float = 1.0, site: str = HIDDEN, metric: str = "max_abs", sense: str = "max", against: str = ""
) -> Limit:
    return Limit(
        site=site,
        metric=Metric.parse(metric),
        bound=bound,
        sense=sense,
        rule="a rule",
        source="",
        file="limits.yaml",
        line=7,
        against=against,
    )


def holding(*values: float, site: str = HIDDEN) -> Record:
    return records.record({site: [list(values)]})


def failing(**changes: str) -> Finding:
    finding = check(holding(8.0), limit(**changes))  # type: ignore[arg-type]
    assert not finding.passed
    return finding


def of(text: str, folder: Path, family: str = "qwen3") -> tuple[Waiver, ...]:
    path = folder / "limits.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return waivers_of(load_limits(path), family)


def refusal(text: str, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        of(text, folder)
    return str(caught.value)
