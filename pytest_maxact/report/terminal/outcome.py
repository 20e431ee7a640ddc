"""The report of a run for a person: the verdict and breaches first, in words, then its Record, or the series of its
checkpoints.
"""

from collections.abc import Iterator

from pytest_maxact.judge.outcome import Outcome
from pytest_maxact.report.terminal.record import record_parts
from pytest_maxact.report.terminal.screen import Message, Part, Screen, to_text
from pytest_maxact.report.terminal.verdict import verdict_lines


def render_outcome(outcome: Outcome, screen: Screen) -> str:
    """As text of at most `screen.width` columns; empty where there is nothing to say."""
    if not outcome.measured:
        return to_text([Message(f"FAIL: {fault}", style="bold red") for fault in outcome.faults], screen)
    if outcome.series is None:
        return to_text(_of_one(outcome, screen), screen)
    from pytest_maxact.report.terminal.series import series_parts

    return to_text(series_parts(outcome, outcome.series, screen), screen)


def _of_one(outcome: Outcome, screen: Screen) -> Iterator[Part]:
    if outcome.verdict:
        yield from verdict_lines(outcome.verdict, whole=screen.whole)
    for checkpoint in outcome.checkpoints:
        if checkpoint.portrait:
            yield from record_parts(checkpoint.portrait, screen, outcome.tighten)
