"""A scheme in effect around each batch: a model, a scheme and the taps of its anatomy in, what runs around a forward
pass out: linear layers, the cache, or both quantized.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.measure.effect.cache import CacheSimulation
from pytest_maxact.measure.effect.simulate import Simulation
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.numbers.schemes import Scheme
from pytest_maxact.record.reading import SiteReading


def linear_of(taps: Iterable[Tap]) -> list[Tap]:
    """Those on inputs of linear layers."""
    return [tap for tap in taps if tap.site.is_linear_input]


def around(
    model: nn.Module, scheme: Scheme, taps: Sequence[Tap], readings: Mapping[str, SiteReading], kept: Collection[str]
) -> Callable[[Batch], AbstractContextManager[object]]:
    """`kept`: sites, or linear layers, that stay in 16 bits."""
    linear = Simulation(model, scheme, linear_of(taps) if scheme.is_of_linears else (), readings, kept)
    attended = [tap for tap in taps if tap.site.is_of_attention]
    cache = CacheSimulation(scheme.name, scheme.cache, attended, readings) if scheme.cache else None

    @contextmanager
    def running(batch: Batch) -> Iterator[None]:
        with linear.running(), cache.running(batch) if cache else nullcontext():
            yield

    return running
