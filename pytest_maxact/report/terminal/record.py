"""One Record for a person: the facts of it, then a row per layer, then what it can ship in. Fits 80 columns. An
outcome's report puts the verdict before.
"""

from collections.abc import Iterator

from pytest_maxact.judge.portrait import Portrait
from pytest_maxact.report.terminal.facts import facts_grid
from pytest_maxact.report.terminal.footing import footing_notes
from pytest_maxact.report.terminal.layers import LEGEND, layers_grid
from pytest_maxact.report.terminal.screen import Part, Screen, Text, to_text


def render_record(portrait: Portrait, screen: Screen) -> str:
    """As text of at most `screen.width` columns."""
    return to_text(record_parts(portrait, screen), screen)


def record_parts(portrait: Portrait, screen: Screen, tighten: str = "") -> Iterator[Part]:
    """`tighten`: the command that tightens limits much wider than what was found; without one they are not remarked."""
    yield facts_grid(portrait)
    if portrait.against:
        from pytest_maxact.report.terminal.compare import against_grid

        yield from map(against_grid, portrait.against)
    yield Text()
    grid, left_out = layers_grid(portrait.rows, screen)
    yield grid
    yield from (Text(note, style="dim") for note in _notes(portrait, left_out, tighten))
    if portrait.deploy:
        from pytest_maxact.report.terminal.deploy import deploy_parts

        yield from deploy_parts(portrait)
    if portrait.source:
        from pytest_maxact.report.terminal.source import source_parts

        yield from source_parts(portrait.source)


def _notes(portrait: Portrait, left_out: str, tighten: str) -> Iterator[str]:
    yield ""
    if left_out:
        yield left_out
    yield LEGEND
    yield from footing_notes(portrait)
    if tighten and portrait.slack:
        yield portrait.slack.line(tighten)
