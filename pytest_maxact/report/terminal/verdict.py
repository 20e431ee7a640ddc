"""The verdict of a run, with which every report begins: pass or fail, then breaches in words, what was waived, and what
is wrong with waivers. `closing` says it again where the report ends.
"""

from collections.abc import Iterator

from rich.text import Text

from pytest_maxact.judge.outcome import Outcome
from pytest_maxact.judge.verdict.tally import Tally, Told

BREACHES_SHOWN = 12


def across_words(outcome: Outcome) -> str:
    """What the checks are of in a series, as in ` of 5 checkpoints`; empty where there is one checkpoint."""
    if outcome.series is None:
        return ""
    measured = len(outcome.measured)
    return f" of {measured} {'checkpoints' if measured > 1 else 'checkpoint'}"


def verdict_lines(verdict: Tally, across: str = "") -> Iterator[Text]:
    """`across`: as of a series, whose report tells breaches of relative limits elsewhere."""
    for warning in verdict.warnings:
        yield Text(f"WARNING: {warning}", style="bold yellow")
    yield from headline(verdict, across)
    for name, site in verdict.broken:
        yield Text(f"the first site with non-finite values{f' in {name}' if name else ''} is {site}", style="red")
    told = [one for one in verdict.breaches if not (across and one.finding.limit.against)]
    for one in told[:BREACHES_SHOWN]:
        yield Text(f"- {_sentence(one)}", style="red")
    if len(told) > BREACHES_SHOWN:
        yield Text(f"- and {len(told) - BREACHES_SHOWN} more", style="red")
    for fault in verdict.faults if verdict.breaches else verdict.faults[1:]:
        yield Text(f"- {fault}", style="red")
    for one in verdict.waived[:BREACHES_SHOWN]:
        waiver = one.finding.waiver
        yield Text(f"{waiver.words if waiver else ''}: {_sentence(one)}", style="yellow")
    if len(verdict.waived) > BREACHES_SHOWN:
        yield Text(f"and {len(verdict.waived) - BREACHES_SHOWN} more are waived", style="yellow")
    if verdict.breaches or verdict.faults[1:] or verdict.waived:
        yield Text()


def headline(verdict: Tally, across: str = "") -> Iterator[Text]:
    """Pass or fail, and what did not run."""
    what = f"{'checks that ran' if verdict.left else 'checks'}{across}"
    ran, waived, left, unknown = verdict.ran, len(verdict.waived), verdict.left, verdict.unknown
    if verdict.breaches:
        yield Text(f"FAIL: {len(verdict.breaches)} of {ran} {what} do not hold", style="bold red")
    elif verdict.faults:
        yield Text(f"FAIL: {verdict.faults[0]}", style="bold red")
    elif not ran:
        yield Text(f"no limit was checked{across}", style="bold yellow")
    else:
        hold = (
            f"{ran - waived} of {ran} {what} hold, {waived} {'is' if waived == 1 else 'are'} waived"
            if waived
            else f"all {ran} {what} hold"
        )
        yield Text(f"PASS{verdict.rests}: {hold}", style="bold green")
    if left:
        which = (
            f"; of the {left - unknown} that were measured {verdict.failing} would fail"
            if unknown
            else f", of which {verdict.failing} would fail"
        )
        yield Text(f"not run: {left} checks{which}", style="yellow")


def _sentence(told: Told) -> str:
    return f"{told.checkpoint}: {told.finding.message}" if told.checkpoint else told.finding.message
