"""How far the figures of a Record can be trusted, as plain data: a Record in, out of it alone what its maxima and its
averages would be on other text of the same kind.

What a maximum can be said to be is stated in `numbers/exceedance.py`: it has no ordinary interval. A Record that keeps
nothing of its samples says so, and never an interval of nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_maxact.errors import setting
from pytest_maxact.judge.trust.ahead import ahead_of, largest_of_all
from pytest_maxact.judge.trust.carries import Carried, carried, entries_of
from pytest_maxact.judge.trust.effects import TrustedFigure, trusted_effects
from pytest_maxact.judge.trust.ratios import Ratios
from pytest_maxact.numbers.bootstrap import drawn
from pytest_maxact.numbers.exceedance import Exceeding, exceeding
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.saturation import Saturation, saturation, shuffled
from pytest_maxact.numbers.subsets import halves
from pytest_maxact.numbers.tails import Tail, is_installed
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.reading import distributions_of
from pytest_maxact.record.record import Record

_BAND = (0.025, 0.975)
_FEW = 64
"""Of so many samples, the largest, one at least is in a draw nearly always."""
WITHOUT_SCIPY = "what more text would reach: that takes scipy, pip install 'pytest-maxact[tails]'"
WITHOUT_INT8 = "signal over error of INT-8: nothing is kept of single samples, which one process on a CPU keeps"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedMaximum:
    """The maximum of a site, or M of all counted ones, whose name is `M`: where it sat, whether it still grows
    (`saturation`), what it says of other text (`beyond`), the maxima of two `halves`, and the band that 95 of 100
    corpora have which are drawn again from these samples (`redrawn`; none of them lies above it); what ten and a
    hundred times the text would reach (`tail`, None where that was not looked for), and what carries it.
    """

    name: str
    site: str
    value: float
    sample: str
    position: int
    channel: int
    saturation: Saturation
    beyond: Exceeding
    halves: tuple[float, float]
    redrawn: tuple[float, float]
    tail: Tail | None
    carried: Carried | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Of one Record. `m` is None where nothing is told of it, and `untold` says of what, and why. `figures`: what
    schemes do to predictions; `ratios`: signal over error at sites, in dB.
    """

    model: str
    samples: int
    tokens: int
    m: TrustedMaximum | None
    sites: tuple[TrustedMaximum, ...]
    figures: tuple[TrustedFigure, ...]
    ratios: tuple[TrustedFigure, ...]
    untold: tuple[str, ...]


def trust_of(record: Record, seed: int = 0) -> Trust:
    """What its samples tell. The same Record and seed give the same."""
    told, untold = _told(record)
    draw = _Draw(record, seed)
    return Trust(
        model=record.provenance.model,
        samples=len(record.provenance.samples),
        tokens=record.tokens,
        m=_of_all(record, told, draw),
        sites=tuple(_of_site(name, name, found, draw) for name, found in told.items()),
        figures=trusted_effects(record, seed),
        ratios=Ratios(record, seed).every,
        untold=untold + _unsampled(record) + _without_scipy(told),
    )


def trusted_m(record: Record, seed: int = 0, *, ahead: bool = False) -> TrustedMaximum | None:
    """Of M alone, None where its samples tell nothing of it; what more text would reach only where `ahead`, for scipy
    takes longer to start than all of a replay.
    """
    told, _ = _told(record)
    return _of_all(record, told, _Draw(record, seed, ahead=ahead)) if told else None


def maxima_of(record: Record) -> dict[str, SampleMaxima]:
    """Of every site that tells what its samples had, all of it finite."""
    return _told(record)[0]


def magnitudes_of_m(record: Record) -> Floats | None:
    """Of every sample the largest magnitude of all counted sites; None where one of them does not tell."""
    told = maxima_of(record)
    counted = [name for name, reading in record.sites.items() if reading.site.counted]
    if not told or any(name not in told for name in counted):
        return None
    found: Floats = np.stack([told[name].magnitudes for name in counted]).max(0)
    return found


def _told(record: Record) -> tuple[dict[str, SampleMaxima], tuple[str, ...]]:
    if record.is_summary:
        return {}, (f"the Record is slim and keeps nothing of its samples: measure again without {setting('slim')}",)
    found: dict[str, SampleMaxima] = {}
    broken, hidden, kept = [], [], 0
    for name, reading in record.sites.items():
        assert isinstance(reading.held, Distributions)
        kept += reading.held.maxima is not None
        if reading.nonfinite:
            broken.append(name)
        elif reading.held.maxima is None:
            hidden.append(name)
        else:
            found[name] = reading.held.maxima
    if not kept:
        return {}, ("the Record is of an earlier version and keeps nothing of its samples: measure again",)
    words = []
    if broken:
        words.append(f"{_named(broken)}: NaN or infinite, of which no interval tells")
    if hidden:
        words.append(f"{_named(hidden)}: routing hides which sample an entry is of")
    return found, tuple(words)


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _unsampled(record: Record) -> tuple[str, ...]:
    old = [name for name, effect in record.effects.items() if not effect.by_sample]
    words = [f"{_named(old)}: measured by an earlier version, which kept no samples of it"] if old else []
    held = [one.held for one in record.sites.values() if isinstance(one.held, Distributions) and one.held.schemes]
    if held and all(one.sampled is None for one in held):
        words.append("signal over error of schemes: nothing is kept of single samples, so measure again, all at once")
    whole = [] if record.is_summary else [distributions_of(one) for one in record.sites.values()]
    if any(one.maxima is not None for one in whole) and all(one.int8 is None for one in whole):
        words.append(WITHOUT_INT8)
    return tuple(words)


def _without_scipy(told: Mapping[str, SampleMaxima]) -> tuple[str, ...]:
    if not told or is_installed():
        return ()
    return (WITHOUT_SCIPY,)


class _Draw:
    """What all sites have in common: orders, halves and draws of the samples."""

    def __init__(self, record: Record, seed: int, ahead: bool = True) -> None:
        samples = record.provenance.samples
        categories = [category for _, category, *_ in samples]
        self.names = [name for name, *_ in samples]
        self.categories = categories
        self.ahead = ahead and is_installed()
        self.texts = record.token_texts or {}
        self.dtypes = {name: reading.dtype for name, reading in record.sites.items()}
        self.tokens = np.array([count for *_, count in samples], np.int64)
        self.orders = shuffled(len(samples), seed)
        self.halves = halves(categories, seed)
        self._present = (drawn(categories, seed) > 0).T

    def redrawn(self, magnitudes: Floats) -> tuple[float, float]:
        """The band of the maxima of corpora that are drawn again."""
        order = np.argsort(-magnitudes, kind="stable")
        few = order[:_FEW]
        if not self._present[few].any(0).all():
            few = order
        low, high = np.quantile(magnitudes[few[self._present[few].argmax(0)]], _BAND)
        return float(low), float(high)


def _of_all(record: Record, told: Mapping[str, SampleMaxima], draw: _Draw) -> TrustedMaximum | None:
    """M: of every sample the largest of all counted sites, the shallowest of equals; None where one of them does not
    tell.
    """
    counted = [name for name, reading in record.sites.items() if reading.site.counted]
    if any(name not in told for name in counted):
        return None
    largest, carrier = largest_of_all({name: told[name] for name in counted})
    return _of_site("M", carrier, told[carrier], draw, largest)


def _of_site(
    name: str, site: str, found: SampleMaxima, draw: _Draw, largest: SampleMaxima | None = None
) -> TrustedMaximum:
    """`largest`: of every sample, where that is not of this site alone."""
    own = found.magnitudes
    largest = found if largest is None else largest
    magnitudes = largest.magnitudes
    place = int(own.argmax())
    carriers = carried(entries_of(largest, draw.categories, draw.texts))
    one, other = (float(magnitudes[half].max(initial=0.0)) for half in draw.halves)
    return TrustedMaximum(
        name=name,
        site=site,
        value=float(magnitudes.max()),
        sample=draw.names[place],
        position=int(found.positions[place]),
        channel=int(found.channels[place]),
        saturation=saturation(magnitudes, draw.tokens, draw.orders),
        beyond=exceeding(magnitudes),
        halves=(one, other),
        redrawn=draw.redrawn(magnitudes),
        tail=ahead_of(magnitudes, draw.dtypes[site], carriers) if draw.ahead else None,
        carried=carriers,
    )
