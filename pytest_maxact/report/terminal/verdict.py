"""The verdict of a run, with which every report begins: pass or fail, then breaches in words, what was waived, and what
is wrong with waivers. `closing` says it again where the report ends.
"""

import re
import shlex
from collections.abc import Iterator, Sequence

from pytest_maxact.judge.outcome import Outcome
from pytest_maxact.judge.verdict.close import is_of_maximum
from pytest_maxact.judge.verdict.quote import quoted_at
from pytest_maxact.judge.verdict.severity import worst_of
from pytest_maxact.judge.verdict.tally import Tally, Told
from pytest_maxact.numbers.counted import counted, counted_of
from pytest_maxact.numbers.sites import ranges
from pytest_maxact.report.terminal.screen import Message, Text

OF_MAXIMA = (
    "With more text a maximum can rise and never falls: one above its limit stays above it, one just below it may yet"
    " exceed it."
)
"""What to make of maxima that are too close to call; said once, below them."""
BREACHES_SHOWN = 12
CLOSE_SHOWN = 4
QUOTED = 20
"""Characters of the text on either side of a token: with it, one line of a narrow terminal."""
_NUMBER = re.compile(r"(.*?layers\.)(\d+)(.*)", re.DOTALL)
"""A place and its layer."""


def across_words(outcome: Outcome) -> str:
    """What the checks that ran are of in a series, as in ` of 5 checkpoints`; empty where there is one checkpoint."""
    if outcome.series is None:
        return ""
    judged = sum(bool(one.ran) for one in outcome.measured) or len(outcome.measured)
    return f" of {counted(judged, 'checkpoint')}"


def verdict_lines(verdict: Tally, across: str = "", whole: bool = False) -> Iterator[Text]:
    """`across`: as of a series, whose report tells breaches of relative limits elsewhere. `whole`: every breach in
    full; else of many the first, and of the others where they are.
    """
    most = None if whole else BREACHES_SHOWN
    yield from headline(verdict, across)
    for name, site in verdict.broken:
        yield Text(f"the first site with non-finite values{f' in {name}' if name else ''} is {site}", style="red")
    told = [one for one in verdict.breaches if not (across and one.finding.limit.against)]
    said = list(_by_scheme(told))
    for words, same in said[:most]:
        yield Text(f"- {words}", style="red")
        if len(same) == 1 and (quote := quoted_at(same[0].finding, QUOTED)):
            yield Text(f"  in: {quote.words}", style="dim", no_wrap=True, overflow="crop")
    if most and (more := [one for _, same in said[most:] for one in same]):
        yield Text(f"- and {len(more)} more: {places(more)}", style="red")
    for fault in verdict.listed:
        yield Message(f"- {fault}", style="red")
    if verdict.breaches:
        yield Text(f"what it is, and what to do: {explaining((told or verdict.breaches)[0])}", style="dim")
    for warning in verdict.warnings:
        yield Message(f"WARNING: {warning}", style="yellow")
    for one in verdict.waived[:most]:
        waiver = one.finding.waiver
        yield Text(f"{waiver.words if waiver else ''}: {_sentence(one)}", style="yellow")
    if most and (others := verdict.waived[most:]):
        are = "is" if len(others) == 1 else "are"
        yield Text(f"and {len(others)} more {are} waived: {places(others)}", style="yellow")
    near = None if whole else CLOSE_SHOWN
    for one in verdict.close[:near]:
        yield Text(f"too close to call: {_without_verdict(one)}", style="yellow")
    if near and (others := verdict.close[near:]):
        yield Text(f"and {_held_close(len(others), 'more ')}: {places(others)}", style="yellow")
    if any(is_of_maximum(one.finding) for one in (*verdict.breaches, *verdict.close) if one.finding.close):
        yield Text(OF_MAXIMA, style="dim")
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
        yield Message(f"FAIL: {verdict.faults[0]}", style="bold red")
    elif not ran:
        yield Text(f"no limit was checked{across}", style="yellow")
    else:
        style = "bold green" if verdict.word == "PASS" else "yellow"
        yield Text(f"{verdict.word}{verdict.rests}: {', '.join(_holding(verdict, which))}", style=style)
    if verdict.waivers_left:
        yield Text(f"not run: {counted(verdict.waivers_left, 'waiver')}", style="yellow")
    if left:
        known = f", of which {verdict.failing} would fail"
        if unknown:
            known = f"; of the {left - unknown} that were measured {verdict.failing} would fail"
        if unknown == left:
            known = ""
        yield Text(f"not run: {counted(left, 'check')}{known}", style="yellow")


def _failing(verdict: Tally, which: str) -> Iterator[str]:
    """What of what ran fails, as a runner of tests counts it."""
    if failing := len(verdict.breaches):
        near = verdict.close_breaches
        which_of = "" if failing == 1 else "all of them " if near == failing else f"{near} of them "
        beside = f" ({which_of}too close to call)" if near else ""
        yield f"{counted_of(failing, verdict.ran, 'check')}{which} {'does' if failing == 1 else 'do'} not hold{beside}"
        if waived := waived_words(verdict):
            yield waived
        if held := len(verdict.close):
            yield _held_close(held)
    if verdict.failing_waivers:
        yield counted_of(verdict.failing_waivers, verdict.waivers, "waiver", "fails", "fail")


def _holding(verdict: Tally, which: str) -> Iterator[str]:
    ran, held, near = verdict.ran, verdict.holding, len(verdict.close)
    if held < ran:
        yield f"{held} of {counted(ran, 'check')}{which} {'holds' if 1 in (held, ran) else 'hold'}"
    else:
        yield f"all {ran} checks{which} hold" if ran > 1 else f"the one check{which} holds"
    if near:
        yield "but is too close to call" if held == 1 else f"{near} of them too close to call"
    if waived := waived_words(verdict):
        yield waived
    if verdict.waivers:
        yield counted(verdict.waivers, "waiver", "holds", "hold")


def waived_words(verdict: Tally) -> str:
    """As in `6 are waived`; empty where none is."""
    waived = len(verdict.waived)
    return f"{waived} {'is' if waived == 1 else 'are'} waived" if waived else ""


def _held_close(near: int, more: str = "") -> str:
    """Of checks that hold."""
    return f"{near} {more}{'that holds is' if near == 1 else 'that hold are'} too close to call"


def places(told: Sequence[Told]) -> str:
    """Where checks are, each of them named: those of one metric together, and of one kind of place by their layers."""
    found: dict[tuple[str, str], dict[tuple[str, str], list[int]]] = {}
    for one in told:
        metric, site = one.finding.limit.name, one.finding.site
        of = found.setdefault((one.checkpoint, metric), {})
        layer = _NUMBER.match(site)
        numbers = of.setdefault((layer[1], layer[3]) if layer else (site, ""), [])
        numbers += [int(layer[2])] if layer else []
    return "; ".join(
        f"{f'{checkpoint}: ' if checkpoint else ''}{metric} of "
        + ", ".join(f"{before}{ranges(sorted(set(numbers)))}{after}" for (before, after), numbers in of.items())
        for (checkpoint, metric), of in found.items()
    )


def _by_scheme(breaches: Sequence[Told]) -> Iterator[tuple[str, Sequence[Told]]]:
    """Breaches in words, and which they are; several of one scheme, each of which the report of schemes explains
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
            yield _sentence(told), [told]
        elif told is same[0]:
            worst = worst_of([one.finding for one in same])
            whose = f"{checkpoint}: " if checkpoint else ""
            yield f"{whose}{scheme}: {counted(len(same), 'check')}, the worst {worst.message}", same


def _sentence(told: Told) -> str:
    return f"{told.checkpoint}: {told.finding.message}" if told.checkpoint else told.finding.message


def _without_verdict(told: Told) -> str:
    """For a line that begins with the verdict."""
    reason = told.finding.doubt.partition(": ")[2]
    words = told.finding.message.removesuffix(told.finding.doubt) + (f"; {reason}" if reason else "")
    return f"{told.checkpoint}: {words}" if told.checkpoint else words
