"""Reports of Records and findings made by hand, as a run would conclude them."""

import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.outcome import Checkpoint, Outcome
from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.series.series import series_of
from pytest_maxact.judge.series.trend import Stage
from pytest_maxact.judge.site_figures import figures_of
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.tally import Told, tally_of
from pytest_maxact.record.record import Record
from pytest_maxact.report.data.record import record_data
from pytest_maxact.report.data.series import series_data
from pytest_maxact.report.terminal.outcome import render_outcome
from pytest_maxact.report.terminal.record import render_record
from pytest_maxact.report.terminal.screen import Screen
from pytest_maxact.report.terminal.series import render_series


def report_of(
    record: Record,
    rules: Ruleset | None = None,
    findings: Sequence[Finding] = (),
    *,
    baselines: Mapping[str, Record] | None = None,
    tighten: str = "",
    **screen: Any,
) -> str:
    """The terminal's report of one Record, every check of which ran; of its figures alone where there are no rules."""
    portrait = portray(record, rules, findings, baselines)
    if rules is None:
        return render_record(portrait, Screen(**screen))
    return render_outcome(
        Outcome(
            checkpoints=(Checkpoint(portrait=portrait, findings=tuple(findings)),),
            ran=len(findings),
            verdict=tally_of([Told(checkpoint="", finding=finding) for finding in findings]),
            tighten=tighten,
        ),
        Screen(**screen),
    )


def data_of(record: Record) -> dict[str, Any]:
    """What programs are given of a Record."""
    return record_data(portray(record), figures_of(record))


def series_report(
    stages: Sequence[Stage],
    findings: Mapping[str, Sequence[Finding]] | None = None,
    *,
    limits: Sequence[Limit] = (),
    horizon: int | None = None,
    rules: Ruleset | None = None,
    ran: Set[tuple[str, str]] | None = None,
    faults: Sequence[str] = (),
    unmeasured: Sequence[str] = (),
    **screen: Any,
) -> str:
    """The terminal's report of a series; of its figures alone where there are no findings. `rules`: of every
    checkpoint; `ran`: checks by checkpoint, None for all; `unmeasured`: names of checkpoints without a Record.
    """
    series = series_of(stages, limits, horizon, findings) if stages else None
    if series and findings is None:
        return render_series(series, Screen(**screen))
    by_name = findings or {}
    measured = [
        Checkpoint(
            name=stage.name,
            step=stage.step,
            portrait=portray(stage.record, rules, by_name.get(stage.name, ())),
            findings=tuple(by_name.get(stage.name, ())),
            checks=len({finding.limit.check for finding in by_name.get(stage.name, ())}),
            ran=frozenset(
                finding.limit.check
                for finding in by_name.get(stage.name, ())
                if ran is None or (stage.name, finding.limit.check) in ran
            ),
        )
        for stage in stages
    ]
    told = [Told(checkpoint=name, finding=finding) for name, of_one in by_name.items() for finding in of_one]
    return render_outcome(
        Outcome(
            checkpoints=(*measured, *(Checkpoint(name=name) for name in unmeasured)),
            ran=len(told),
            verdict=tally_of(told, ran, faults) if measured else None,
            series=series,
            faults=tuple(faults),
        ),
        Screen(**screen),
    )


def series_data_of(stages: Sequence[Stage], limits: Sequence[Limit] = (), horizon: int | None = None) -> dict[str, Any]:
    """What programs are given of a series."""
    return series_data(series_of(stages, limits, horizon))


def untrusted(report: str) -> str:
    """A report but for how far M can be trusted, which a slim Record cannot tell."""
    return re.sub(r"^trust .*\n(?: .*\n)*", "", report, flags=re.MULTILINE)
