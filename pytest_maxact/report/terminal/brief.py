"""A run in a line, for who asked to be told little: pass or fail, the first of what went wrong, and how many more there
are. An outcome in, a text of a line out, broken where a screen is narrower.
"""

from collections.abc import Iterator

from pytest_maxact.judge.outcome import Outcome
from pytest_maxact.report.terminal.closing import in_short
from pytest_maxact.report.terminal.screen import Screen, Text, to_text
from pytest_maxact.report.terminal.verdict import across_words, headline


def render_brief(outcome: Outcome, screen: Screen, whose: str = "") -> str:
    """As text of at most `screen.width` columns, `whose` before it; empty where there is nothing to say."""
    heads = list(_heads(outcome))
    if not heads:
        return ""
    first, *others = heads
    words = first.plain
    if told := list(_wrong(outcome)):
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        words = f"{words}: {told[0]}{more}"
    words = "; ".join([words, *(other.plain for other in others)])
    in_one = "; ".join(" ".join(line.split()) for line in words.split("\n"))
    return to_text([Text(f"{whose}{in_one}", style=first.style)], screen)


def _heads(outcome: Outcome) -> Iterator[Text]:
    verdict = outcome.verdict
    if verdict:
        yield from headline(verdict, across_words(outcome))
        if verdict.warnings:
            yield Text("1 warning" if len(verdict.warnings) == 1 else f"{len(verdict.warnings)} warnings")
    elif outcome.faults:
        yield Text(f"FAIL: {outcome.faults[0]}", style="bold red")


def _wrong(outcome: Outcome) -> Iterator[str]:
    """What the headline leaves to be told: breaches, then other causes."""
    if outcome.verdict:
        yield from map(in_short, outcome.verdict.breaches)
        yield from outcome.verdict.listed
    else:
        yield from outcome.faults[1:]
