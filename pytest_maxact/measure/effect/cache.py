"""A scheme of the KV cache in effect on a model: while it runs, attention is given keys and values as a cache in low
bits gives them back; of latent attention the expansion is given the state, and attention the rotated part.

Scales come from the Record: from calibration, from the largest entry of all text, or 1.0. Nothing of the model changes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.quantize_cache import through_cache
from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.measure.observe.attention import Attended, watch_attention
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.shapes import unkept
from pytest_maxact.numbers.caches import CALIBRATION, EXACT, ONE, Cache
from pytest_maxact.numbers.sites import kept_in_cache
from pytest_maxact.record.metrics.loudest import reached
from pytest_maxact.record.reading import SiteReading, distributions_of


class CacheSimulation:
    """Keys and values through a cache; `running` around each forward pass. `taps`: those of attention."""

    def __init__(self, name: str, how: Cache, taps: Iterable[Tap], readings: Mapping[str, SiteReading]) -> None:
        taps = list(taps)
        kept = {site.name for site in kept_in_cache(tap.site for tap in taps)}
        self._name, self._how = name, how
        self._taps: dict[int, list[Tap]] = {}
        self._expansions: dict[nn.Module, Tap] = {}
        for tap in taps:
            if tap.site.name in kept and tap.reads == "input":
                self._expansions[tap.module] = tap
            elif tap.site.name in kept:
                self._taps.setdefault(id(tap.module), []).append(tap)
        self._readings = readings
        self._calls: Counter[int] = Counter()
        self._ran: set[Tap] = set()
        if not kept:
            raise MeasureError(f"{name}: no attention of this model is read, so its cache cannot be quantized")
        for reason, where in unkept(how, taps).items():
            raise MeasureError(f"{where[0].site.name}: {name} cannot keep it: {reason}\n  choose another scheme")

    @contextmanager
    def running(self, batch: Batch) -> Iterator[None]:
        """Raises MeasureError, in the end, for keys or values that attention was not given."""
        self._calls.clear()
        self._ran.clear()
        undo = watch_attention(self._taps, partial(self._attend, batch=batch))
        handles = [
            module.register_forward_pre_hook(partial(self._expand, tap, batch), with_kwargs=True)
            for module, tap in self._expansions.items()
        ]
        try:
            yield
        finally:
            undo()
            for handle in handles:
                handle.remove()
        for tap in (*self._expansions.values(), *(tap for taps in self._taps.values() for tap in taps)):
            if tap not in self._ran:
                raise MeasureError(f"{tap.site.name} was not met under {self._name}\n  please report the model_type")

    def _attend(self, taps: Sequence[Tap], call: Attended, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = call.key, call.value
        number = self._calls[id(call.module)]
        self._calls[id(call.module)] += 1
        for tap in (tap for tap in taps if tap.firing in (None, number)):
            self._ran.add(tap)
            if tap.reads == "first key":
                key = key.clone()
                columns = tap.columns or slice(None)
                key[..., columns] = self._kept(tap, key[:, :1, :, columns], batch)
            elif tap.reads == "key":
                key = self._kept(tap, key, batch)
            elif tap.reads == "value":
                value = self._kept(tap, value, batch)
        return key, value

    def _expand(self, tap: Tap, batch: Batch, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._ran.add(tap)
        values = [*args, *kwargs.values()]
        place = next(number for number, value in enumerate(values) if isinstance(value, torch.Tensor))
        states = values[place].reshape(*batch.ids.shape, 1, -1).transpose(1, 2)
        values[place] = self._kept(tap, states, batch).transpose(1, 2).reshape(values[place].shape)
        return tuple(values[: len(args)]), dict(zip(kwargs, values[len(args) :], strict=True))

    def _kept(self, tap: Tap, states: torch.Tensor, batch: Batch) -> torch.Tensor:
        """States [B, heads, T, width] of real tokens as they come back; of padding as they are."""
        rows = states.transpose(1, 2)
        flat = rows.flatten(0, 1)
        real = batch.on(states.device).real
        lengths = [len(sequence) for sequence in batch.plan.sequences]
        keys = tap.reads != "value"
        kept = through_cache(flat[real], self._how, keys, lengths, self._largest(tap, flat.shape[1]))
        whole = flat.clone()
        whole[real] = kept.restored
        return whole.view(rows.shape).transpose(1, 2)

    def _largest(self, tap: Tap, heads: int) -> torch.Tensor | None:
        """The magnitude behind a static scale: one, or one for each head."""
        how, reading = self._how, self._readings.get(tap.site.name)
        if how.scale in ("", ONE):
            return None
        channels = None
        if reading is not None:
            held = distributions_of(reading, "the maxima of channels")
            channels = held.channels if how.scale == CALIBRATION else reached(held)
        if channels is None or reading is None:
            raise MeasureError(
                f"{tap.site.name}: {self._name} needs the maxima of its channels, and the Record has none\n"
                f"  measure again with {setting('schemes')} {self._name}, on two samples or more"
            )
        if how.shared == "head" and tap.site.kind != "kv_latent":
            return torch.from_numpy(channels.parts[tap.part]).view(heads, -1).amax(1)
        deployed = reading.as_deployed if how.scale == EXACT else 0.0
        return torch.tensor([max(deployed or 0.0, *(float(amax.max()) for amax in channels.parts.values()))])
