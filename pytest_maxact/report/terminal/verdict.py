"""The verdict of a run, which comes first in every report: pass or fail, then breaches in words, what was waived, and
what is wrong with waivers.
"""

from collections.abc import Iterator, Sequence, Set

from rich.console import RenderableType
from rich.text import Text

from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.metrics.metric import NONFINITE
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import first_broken

BREACHES_SHOWN = 12
Named = tuple[str, Finding]
"""A finding and the name of its checkpoint, empty where there is only one."""


def verdict_of(
    findings: Sequence[Named],
    ran: Set[tuple[str, str]] | None,
    faults: Sequence[str] = (),
    across: str = "",
    unknown: int = 0,
) -> Iterator[RenderableType]:
    """`ran`: (checkpoint, check) of those that ran, None for all. `faults`: what else went wrong. `across`: what the
    checks are of, as in `of 5 checkpoints`. `unknown`: how many did not run and cannot be judged.
    """
    run = [(name, finding) for name, finding in findings if ran is None or (name, finding.limit.check) in ran]
    left = len(findings) - len(run) + unknown
    breaches = [(name, finding) for name, finding in run if not finding.accepted]
    waived = [(name, finding) for name, finding in run if finding.waiver]
    what = f"{'checks that ran' if left else 'checks'}{across}"
    if breaches:
        yield Text(f"FAIL: {len(breaches)} of {len(run)} {what} do not hold", style="bold red")
    elif faults:
        yield Text(f"FAIL: {faults[0]}", style="bold red")
        faults = faults[1:]
    elif not run:
        yield Text(f"no limit was checked{across}", style="bold yellow")
    else:
        hold = (
            f"all {len(run)} {what} hold"
            if not waived
            else (
                f"{len(run) - len(waived)} of {len(run)} {what} hold, {len(waived)}"
                f" {'is' if len(waived) == 1 else 'are'} waived"
            )
        )
        yield Text(f"PASS: {hold}", style="bold green")
    if left:
        failing = sum(not finding.accepted for name, finding in findings if (name, finding) not in run)
        which = (
            f"; of the {left - unknown} that were measured {failing} would fail"
            if unknown
            else f", of which {failing} would fail"
        )
        yield Text(f"not run: {left} checks{which}", style="yellow")
    broken: dict[str, list[SiteReading]] = {}
    for name, finding in breaches:
        if finding.limit.metric == NONFINITE and finding.reading:
            broken.setdefault(name, []).append(finding.reading)
    for name, readings in broken.items():
        if first := first_broken(readings):
            where = f" in {name}" if name else ""
            yield Text(f"the first site with non-finite values{where} is {first.site.name}", style="red")
    told = [(name, finding) for name, finding in breaches if not (across and finding.limit.against)]
    for name, finding in told[:BREACHES_SHOWN]:
        yield Text(f"- {_prefix(name)}{finding.message}", style="red")
    if len(told) > BREACHES_SHOWN:
        yield Text(f"- and {len(told) - BREACHES_SHOWN} more", style="red")
    for fault in faults:
        yield Text(f"- {fault}", style="red")
    for name, finding in waived[:BREACHES_SHOWN]:
        yield Text(
            f"{finding.waiver.words if finding.waiver else ''}: {_prefix(name)}{finding.message}", style="yellow"
        )
    if len(waived) > BREACHES_SHOWN:
        yield Text(f"and {len(waived) - BREACHES_SHOWN} more are waived", style="yellow")
    if breaches or faults or waived:
        yield Text()


def _prefix(name: str) -> str:
    return f"{name}: " if name else ""
