"""The verdict of a run, with which every report begins: pass or fail, then breaches in words, what was waived, and what
is wrong with waivers. `closing` says it again where the report ends.
"""

import shlex
from collections.abc import Iterator, Sequence

from rich.text import Text

from pytest_maxact.judge.outcome import Outcome
from pytest_maxact.judge.verdict.finding import worst_of
from pytest_maxact.judge.verdict.tally import Tally, Told
from pytest_maxact.numbers.counted import counted, counted_of

BREACHES_SHOWN = 12
CLOSE_SHOWN = 4


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
    said = list(_by_scheme(told))
    for words, _ in said[:BREACHES_SHOWN]:
        yield Text(f"- {words}", style="red")
    if more := sum(checks for _, checks in said[BREACHES_SHOWN:]):
        yield Text(f"- and {more} more", style="red")
    for fault in verdict.listed:
        yield Text(f"- {fault}", style="red")
    if verdict.breaches:
        yield Text(f"what it is, and what to do: {explaining((told or verdict.breaches)[0])}", style="dim")
    for one in verdict.waived[:BREACHES_SHOWN]:
        waiver = one.finding.waiver
        yield Text(f"{waiver.words if waiver else ''}: {_sentence(one)}", style="yellow")
    if len(verdict.waived) > BREACHES_SHOWN:
        more = len(verdict.waived) - BREACHES_SHOWN
        yield Text(f"and {more} more {'is' if more == 1 else 'are'} waived", style="yellow")
    for one in verdict.close[:CLOSE_SHOWN]:
        yield Text(f"too close: {_sentence(one)}", style="yellow")
    if more := len(verdict.close[CLOSE_SHOWN:]):
        yield Text(f"and {more} more {'is' if more == 1 else 'are'} too close to call", style="yellow")
    if verdict.breaches or verdict.listed or verdict.waived or verdict.close:
        yield Text()


def explaining(told: Told) -> str:
    """The command that explains a check."""
    return shlex.join(["maxact", "explain", f"{told.finding.limit.site}::{told.finding.limit.name}"])


def headline(verdict: Tally, across: str = "") -> Iterator[Text]:
    """Pass or fail, and what did not run."""
    which = f"{' that ran' if verdict.left else ''}{across}"
    ran, left, unknown = verdict.ran, verdict.left, verdict.unknown
    if verdict.is_counted:
        yield Text(f"FAIL: {', '.join(_failing(verdict, which))}", style="bold red")
    elif verdict.faults:
        yield Text(f"FAIL: {verdict.faults[0]}", style="bold red")
    elif not ran:
        yield Text(f"no limit was checked{across}", style="bold yellow")
    else:
        yield Text(f"PASS{verdict.rests}: {', '.join(_holding(verdict, which))}", style="bold green")
    if left:
        known = (
            f"; of the {left - unknown} that were measured {verdict.failing} would fail"
            if unknown
            else f", of which {verdict.failing} would fail"
        )
        yield Text(f"not run: {counted(left, 'check')}{known}", style="yellow")


def _failing(verdict: Tally, which: str) -> Iterator[str]:
    """What of what ran fails, as a runner of tests counts it."""
    if failing := len(verdict.breaches):
        near = verdict.close_breaches
        beside = f" ({near} of them too close to call)" if near else ""
        yield f"{counted_of(failing, verdict.ran, 'check')}{which} {'does' if failing == 1 else 'do'} not hold{beside}"
        yield from _apart(verdict)
    if verdict.failing_waivers:
        yield counted_of(verdict.failing_waivers, verdict.waivers, "waiver", "fails", "fail")


def _holding(verdict: Tally, which: str) -> Iterator[str]:
    ran, apart = verdict.ran, len(verdict.waived) + len(verdict.close)
    if apart:
        held = ran - apart
        yield f"{held} of {counted(ran, 'check')}{which} {'holds' if held == 1 else 'hold'}"
        yield from _apart(verdict)
    else:
        yield f"all {ran} checks{which} hold" if ran > 1 else f"the one check{which} holds"
    if verdict.waivers:
        yield counted(verdict.waivers, "waiver", "holds", "hold")


def _apart(verdict: Tally) -> Iterator[str]:
    """What is no plain pass."""
    if waived := len(verdict.waived):
        yield f"{waived} {'is' if waived == 1 else 'are'} waived"
    if near := len(verdict.close):
        yield f"{near} {'is' if near == 1 else 'are'} too close to call"


def _by_scheme(breaches: Sequence[Told]) -> Iterator[tuple[str, int]]:
    """Breaches in words, and of how many checks; several of one scheme, each of which the report of schemes explains
    together, are told once.
    """
    of_scheme: dict[tuple[str, str], list[Told]] = {}
    for told in breaches:
        metric = told.finding.limit.metric
        if metric.scheme and not told.finding.limit.against:
            of_scheme.setdefault((told.checkpoint, metric.scheme), []).append(told)
    for told in breaches:
        checkpoint, scheme = told.checkpoint, told.finding.limit.metric.scheme
        same = of_scheme.get((checkpoint, scheme), [])
        if len(same) < 2 or told not in same:
            yield _sentence(told), 1
        elif told is same[0]:
            worst = worst_of([one.finding for one in same])
            whose = f"{checkpoint}: " if checkpoint else ""
            yield f"{whose}{scheme}: {counted(len(same), 'check')}, the worst {worst.message}", len(same)


def _sentence(told: Told) -> str:
    return f"{told.checkpoint}: {told.finding.message}" if told.checkpoint else told.finding.message
