"""What a search found, for people: one line a site, and the input that did it."""

import math
from collections.abc import Iterator, Sequence

from pytest_maxact.errors import cut
from pytest_maxact.numbers.ratio import ratio
from pytest_maxact.record.hunt import Hunted
from pytest_maxact.report.terminal.screen import Part, Screen, Text, to_text

_SHOWN = 160


def render_hunt(found: Sequence[Hunted], screen: Screen) -> str:
    return to_text([part for one in found for part in _parts(one)], screen)


def _parts(one: Hunted) -> Iterator[Part]:
    if not math.isfinite(one.found):
        yield Text(f"{one.site}: NaN or infinite, by {one.how}; {_corpus(one)}", style="bold red")
    elif not math.isfinite(one.corpus):
        yield Text(f"{one.site}: {one.found:.6g} by {one.how}; {_corpus(one)}", style="bold red")
    else:
        beside = f"{ratio(one.corpus, one.found):.2f} x the corpus's {one.corpus:.6g}"
        yield Text(f"{one.site}: {one.found:.6g} by {one.how}, {beside}", style="bold")
    if one.peak:
        yield Text(f"  at token {one.peak.position} {one.peak.token!r}, channel {one.peak.channel}")
    yield Text(f"  {len(one.ids)} tokens: {cut(one.text, _SHOWN)!r}")
    scanned = f"{one.scanned} of {one.vocabulary} first tokens"
    yield Text(f"  after {one.evaluations} evaluations, {scanned} among them")


def _corpus(one: Hunted) -> str:
    return f"the corpus has {one.corpus:.6g}" if math.isfinite(one.corpus) else "the corpus is NaN or infinite itself"
