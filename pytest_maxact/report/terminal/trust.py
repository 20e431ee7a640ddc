"""How far a Record can be trusted, for a person: one line per question, then the sites whose maximum moved most. Fits
80 columns.
"""

import statistics
from collections.abc import Iterator, Sequence

from pytest_maxact.judge.trust.ahead import tail_words
from pytest_maxact.judge.trust.carries import by_words, carried_words
from pytest_maxact.judge.trust.effects import TrustedFigure
from pytest_maxact.judge.trust.subsets import Subset
from pytest_maxact.judge.trust.trust import WITHOUT_SCIPY, Trust, TrustedMaximum
from pytest_maxact.numbers.counted import counted
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Screen, Text, grouped, short, to_text

_SHOWN = 8
_RARE = 0.05
_NAMED = 4
_LABEL = Column(style="bold")


def render_trust(trust: Trust, screen: Screen) -> str:
    """As text of at most `screen.width` columns."""
    return to_text(_parts(trust), screen)


def render_subsets(model: str, rows: Sequence[Subset], screen: Screen) -> str:
    """The paper's table, and what its rows come to."""
    return to_text(_subset_parts(model, rows), screen)


def trust_line(found: TrustedMaximum) -> str:
    """What a report of a run says of M, in one line."""
    return f"{_growth(found)}; the next sample lies above it in {found.beyond.rate:.1%} of cases at most (95 %)"


def _parts(trust: Trust) -> Iterator[Part]:
    size = f"{counted(trust.samples, 'sample')}, {grouped(trust.tokens)} tokens"
    rows: list[tuple[str, str | Text]] = [("model", trust.model), ("corpus", size)]
    if trust.m:
        rows += _of_m(trust.m, without_scipy=WITHOUT_SCIPY in trust.untold)
    elsewhere = {WITHOUT_SCIPY} if trust.m else set()
    rows += [("untold", Text(words, style="yellow")) for words in trust.untold if words not in elsewhere]
    yield Grid(columns=(_LABEL, Column(fold=True)), rows=rows, gap=2)
    if trust.figures:
        yield Text()
        yield _figures(trust.figures)
    if trust.ratios:
        yield Text()
        yield _ratios(trust.ratios)
    moving = sorted((one for one in trust.sites), key=lambda one: -one.saturation.last_half)[:_SHOWN]
    if moving:
        yield Text()
        yield _table(moving)
        yield Text(_LEGEND, style="dim")


def _of_m(m: TrustedMaximum, *, without_scipy: bool) -> Iterator[tuple[str, str | Text]]:
    curve, beyond = m.saturation, m.beyond
    yield "M", Text(f"{short(m.value)} at {m.site}, sample {m.sample}, position {m.position}, channel {m.channel}")
    yield "grows?", _growth(m)
    yield "", f"it last rose after {grouped(curve.last_rose)} of {grouped(sum_of(m))} tokens, in the order of samples"
    yield "next?", f"the next sample lies above it in {beyond.rate:.2%} of cases at most (95 % confidence)"
    if beyond.again is not None:
        yield (
            "again?",
            f"another corpus of this size reaches {short(beyond.again)} in {beyond.reached:.1%} of cases at least, and "
            f"lies above M in {beyond.above:.0%} at most",
        )
    one, other = m.halves
    low, high = m.redrawn
    yield "halves", f"{short(one)} and {short(other)}; drawn again, 95 of 100 corpora: {short(low)} to {short(high)}"
    if m.tail is not None:
        yield from zip(("more?", ""), tail_words(m.tail), strict=False)
    elif without_scipy:
        yield "more?", Text("takes scipy: pip install 'pytest-maxact[tails]'", style="dim")
    if m.carried is not None:
        yield "carries", carried_words(m.carried)
        yield "", f"by place: {by_words(m.carried.by_place)}"
        yield "", f"by category: {by_words(m.carried.by_category)}"
        if m.carried.by_token:
            shown_few = {repr(name): one for name, one in list(m.carried.by_token.items())[:_NAMED]}
            yield "", f"by token: {by_words(shown_few)}"
        channels = {str(name): one for name, one in list(m.carried.by_channel.items())[:_NAMED]}
        yield "", f"by channel: {by_words(channels)}"


def sum_of(found: TrustedMaximum) -> int:
    """All tokens of its text."""
    return found.saturation.tokens[-1]


def _growth(found: TrustedMaximum) -> str:
    curve = found.saturation
    held = f"{counted(curve.holders, 'sample')} {'reaches' if curve.holders == 1 else 'reach'} it"
    if curve.late < _RARE:
        return f"no longer grows: {held}, in {1 - curve.late:.0%} of all orders within their first half"
    return f"still grows: {held}, and the last half of the text raises it by {curve.last_half:.1%} on average"


def _figures(found: Sequence[TrustedFigure]) -> Grid:
    """Figures of samples with their intervals."""
    return Grid(
        title="what schemes do to predictions, with 95 % intervals over samples",
        columns=[
            Column(name=name, right=place > 0)
            for place, name in enumerate(("figure", "value", "from", "to", "halves", ""))
        ],
        rows=[
            (
                one.name,
                *(f"{value:.4g}" for value in (one.value, one.low, one.high)),
                " ".join(f"{value:.4g}" for value in one.halves),
                one.untold or counted(one.samples, "sample"),
            )
            for one in found
        ],
        gap=2,
    )


def _ratios(found: Sequence[TrustedFigure]) -> Grid:
    """Those told least closely, of sites and schemes; the widest interval first."""
    told = sorted((one for one in found if one.holds), key=lambda one: one.low - one.high)[:_SHOWN]
    columns = ("site", "scheme", "dB", "from", "to", "halves")
    return Grid(
        title=f"signal over error at sites, 95 % intervals: the widest of {len(found)}",
        columns=[Column(name=name, right=place > 1) for place, name in enumerate(columns)],
        rows=[
            (
                one.site,
                one.name.rpartition(".")[0],
                *(f"{value:.4g}" for value in (one.value, one.low, one.high)),
                " ".join(f"{value:.4g}" for value in one.halves),
            )
            for one in told or found[:_SHOWN]
        ],
        gap=2,
    )


def _table(found: Sequence[TrustedMaximum]) -> Grid:
    columns = ("site", "max|a|", "holders", "last half", "late", "halves", "again")
    return Grid(
        title="sites whose maximum the last half of the text raised most",
        columns=[Column(name=name, right=place > 0) for place, name in enumerate(columns)],
        rows=[
            (
                one.site,
                short(one.value),
                str(one.saturation.holders),
                f"{one.saturation.last_half:.1%}",
                f"{one.saturation.late:.0%}",
                f"{short(one.halves[0])} {short(one.halves[1])}",
                "-" if one.beyond.again is None else short(one.beyond.again),
            )
            for one in found
        ],
        gap=2,
    )


_LEGEND = (
    "holders: samples that reach the maximum. last half: by how much the second half of the text raises it, on average"
    " over orders. late: orders that meet it in their second half. again: what another corpus of this size reaches,"
    " with 95 %."
)


def _subset_parts(model: str, rows: Sequence[Subset]) -> Iterator[Part]:
    names = ("model", "subset_size", "repeat", "samples", "global_max_abs", "location")
    yield Grid(
        columns=[Column(name=name, right=name in ("subset_size", "samples", "global_max_abs")) for name in names],
        rows=[(model, str(r.size), f"r{r.repeat}", str(r.samples), short(r.m), r.site) for r in rows],
        gap=2,
    )
    yield Text()
    for size in dict.fromkeys(row.size for row in rows):
        found = [row.m for row in rows if row.size == size]
        mean, spread = statistics.mean(found), statistics.stdev(found)
        share = spread / mean if mean else 0.0
        yield Text(f"{size} samples: mean {short(mean)}, deviation {short(spread)}, {share:.1%} of it", style="dim")
