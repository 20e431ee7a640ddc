"""What a report ends with, where a person looks last: an outcome in, pass or fail with breaches and cause in at most
eight lines out. Lines of a text that do not fit are counted or cut at a word, never dropped unsaid.
"""

import math
from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from pytest_maxact.judge.outcome import Outcome
from pytest_maxact.judge.verdict.tally import Tally, Told
from pytest_maxact.judge.verdict.words import RELATIONS
from pytest_maxact.report.terminal.screen import Message, Screen, Text, to_text
from pytest_maxact.report.terminal.verdict import across_words, headline, waived_words

LINES = 7
"""With a rule above them, eight."""
_CUT = " ..."


def render_closing(outcome: Outcome, screen: Screen) -> str:
    """As text of at most `screen.width` columns and seven lines; empty where there is nothing to say."""
    lines = list[str]()
    for text in _head(outcome):
        lines += _drawn(text, screen)
    rest = list(_causes(outcome)) + list(_breaches(outcome.verdict))
    drawn = [_drawn(text, screen) for text in rest]
    left = LINES - len(lines)
    if left < 0:
        return "\n".join([*lines[: LINES - 1], _ended(lines[LINES - 1], screen.width)])
    if sum(map(len, drawn)) <= left:
        return "\n".join([*lines, *(line for one in drawn for line in one)])
    return "\n".join([*lines, *_fitting(drawn, left, screen)])


def says_all(outcome: Outcome, screen: Screen) -> bool:
    """Whether this is all that there is to say: nothing was measured, and why fits here."""
    if outcome.measured:
        return False
    texts = [*_head(outcome), *_causes(outcome)]
    return sum(len(_drawn(text, screen)) for text in texts) <= LINES


def _head(outcome: Outcome) -> Iterator[Text]:
    """Pass or fail; the cause with it, where no check tells it."""
    verdict = outcome.verdict
    if verdict is None:
        if outcome.faults:
            yield Message(f"FAIL: {outcome.faults[0]}", style="bold red")
        return
    yield from headline(verdict, across_words(outcome))
    if verdict.faults and not verdict.breaches and verdict.ran:
        which = "checks that were judged" if verdict.ran > 1 else "check that was judged"
        beside = f", {waived}" if (waived := waived_words(verdict)) else ""
        yield Text(f"{verdict.holding} of {verdict.ran} {which} hold{beside}", style="yellow")
    if verdict.warnings:
        many = len(verdict.warnings)
        said = "a warning stands" if many == 1 else f"{many} warnings stand"
        yield Text(f"{said} at the head of the report", style="yellow")


def _causes(outcome: Outcome) -> Iterator[Text]:
    """What went wrong besides checks that do not hold, but for what the head says."""
    for fault in outcome.verdict.listed if outcome.verdict else outcome.faults[1:]:
        yield Message(f"- {fault}", style="red")


def _breaches(verdict: Tally | None) -> Iterator[Text]:
    for told in verdict.breaches if verdict else ():
        yield Text(f"- {in_short(told)}", style="red")


def in_short(told: Told) -> str:
    """A breach in a few words: where, what, how much of it, and the limit."""
    finding = told.finding
    limit = finding.limit
    of = f"{told.checkpoint}: " if told.checkpoint else ""
    if math.isnan(finding.value):
        return f"{of}{finding.site} {limit.name}: not to be told, see above"
    relation = RELATIONS[limit.sense, finding.passed or finding.is_failed_as_close]
    close = ", too close to call" if finding.close else ""
    return f"{of}{finding.site} {limit.name}: {finding.value:.6g} {relation} {limit.bound:.6g}{close}"


def _fitting(drawn: Sequence[Sequence[str]], left: int, screen: Screen) -> Iterator[str]:
    """As many as fit, and how many more there are; the first in any case, cut where it has to be."""
    room, shown = left - 1, 0
    for lines in drawn:
        if len(lines) > room and shown:
            break
        if len(lines) > room:
            yield from [*lines[: room - 1], _ended(lines[room - 1], screen.width)] if room > 0 else []
            shown += 1
            break
        yield from lines
        room, shown = room - len(lines), shown + 1
    if more := len(drawn) - shown:
        yield from _drawn(Text(f"- and {more} more, told above", style="red"), screen)


def _drawn(text: Text, screen: Screen) -> list[str]:
    return to_text([text], screen).splitlines()


def _ended(line: str, width: int) -> str:
    """A line after which more would come, cut at a word so that it fits."""
    while cell_len(line) + len(_CUT) > width:
        line = line.rpartition(" ")[0] or line[:-1]
    return f"{line}{_CUT}"
