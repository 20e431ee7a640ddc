"""What every layer does on a few tokens: a decoder and one sequence in, a `Probe` of every layer and block out.

How much a layer changes is read off its input and output. What a block does to it is found out by running the layer
once more without the block: whatever norms, scales and branches lie between a block and the residual stream, a block
that can be taken away unnoticed does nothing. That is two runs of each layer more, of a few tokens.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pytest_maxact import corpus
from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Tap
from pytest_maxact.errors import MeasureError, first_line, setting
from pytest_maxact.measure.observe.rows import rows_of
from pytest_maxact.numbers.probe import SKETCHED, Probe

TOKENS = 256
"""So many tokens at most are looked at."""
_FELT = 2.0**-9
"""Changes up to this part of an entry count as none: no more than half a step of bfloat16."""
_BLOCKS = ("attn_output", "mlp_output")
_MASK = (1 << 32) - 1


@torch.inference_mode()
def probe_layers(
    decoder: nn.Module, anatomy: Anatomy, sequence: corpus.Sequence, device: torch.device
) -> dict[str, Probe]:
    """By site: of the residual stream after every layer what the layer and each of its blocks change, of each block
    which way its outputs point. Raises MeasureError where the forward pass fails.
    """
    ids = torch.tensor([sequence.ids[:TOKENS]], device=device)
    seen = _Seen(anatomy=anatomy, shape=(1, ids.shape[1]))
    try:
        with seen.attached():
            decoder(input_ids=ids, use_cache=False)
    except Exception as error:
        if isinstance(error, MeasureError):
            raise
        raise MeasureError(
            f"the forward pass failed on the first {ids.shape[1]} tokens of sample {sequence.sample.id}: "
            f"{type(error).__name__}: {first_line(error)}\n"
            f"  where memory ran out, use a device with more of it, or lower {setting('max_seq_len')}"
        ) from error
    return {
        site: Probe(
            sample=sequence.sample.id,
            tokens=ids.shape[1],
            changed=seen.changed.get(site, {}),
            sketch=tuple(seen.sketches[site].tolist()) if site in seen.sketches else (),
        )
        for site in (*seen.changed, *seen.sketches)
    }


@dataclass(slots=True, kw_only=True)
class _Seen:
    """Hooks on layers and blocks, and what they saw so far."""

    anatomy: Anatomy
    shape: tuple[int, int]
    changed: dict[str, dict[str, float]] = field(default_factory=dict)
    sketches: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    _calls: Counter[int] = field(default_factory=Counter)
    _given: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    _again: bool = False
    """A layer runs once more: nothing is looked at."""
    _thread: int = field(default_factory=get_ident)
    """Passes of other threads, which take turns with this one, are not looked at."""

    @property
    def _looks(self) -> bool:
        return not self._again and get_ident() == self._thread

    @contextmanager
    def attached(self) -> Iterator[None]:
        handles: list[Any] = []
        taps = [tap for tap in self.anatomy.taps if tap.reads == "output"]
        try:
            for group in _by_module([tap for tap in taps if tap.site.kind == "hidden"]):
                handles.append(group[0].module.register_forward_pre_hook(self._before, with_kwargs=True))
                handles.append(group[0].module.register_forward_hook(self._after(group), with_kwargs=True))
            for group in _by_module([tap for tap in taps if tap.site.kind in _BLOCKS]):
                handles.append(group[0].module.register_forward_hook(self._block(group)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Keep what a layer is given: some add to it in place."""
        if self._looks:
            self._given[id(module)] = (_copied(args), _copied(kwargs))

    def _after(self, taps: list[Tap]) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if not self._looks:
                return
            tap = self._meant(taps)
            given = self._given.pop(id(module))
            if tap is None:
                return
            after = _first(output)
            found = self.changed.setdefault(tap.site.name, {})
            before = _stream(given, after)
            if before is not None:
                found["layer"] = _share(before, after)
            for block in self._blocks(tap):
                without = self._without(module, given, [one.module for one in block])
                if without is not None and without.shape == after.shape:
                    found[block[0].site.kind] = _share(without, after)

        return hook

    def _blocks(self, layer: Tap) -> list[list[Tap]]:
        """The blocks of a layer that can be taken away, those of one site together: what it calls itself."""
        inside = set(layer.module.modules())
        found: dict[str, list[Tap]] = {}
        for tap in self.anatomy.taps:
            if tap.site.layer == layer.site.layer and tap.site.kind in _BLOCKS:
                found.setdefault(tap.site.kind, []).append(tap)
        return [taps for taps in found.values() if all(tap.reads == "output" and tap.module in inside for tap in taps)]

    def _without(self, layer: nn.Module, given: tuple[Any, Any], blocks: list[nn.Module]) -> torch.Tensor | None:
        """What a layer gives where these blocks give zeros; None where it cannot run a second time."""
        handles = [block.register_forward_hook(lambda module, args, output: _silenced(output)) for block in blocks]
        self._again = True
        try:
            return _first(layer(*_copied(given[0]), **_copied(given[1])))
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            if "memory" in str(error):
                raise
            return None
        finally:
            self._again = False
            for handle in handles:
                handle.remove()

    def _block(self, taps: list[Tap]) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if self._looks and (tap := self._meant(taps)):
                sketch = sketched(rows_of(_first(output), tap, self.shape))
                known = self.sketches.get(tap.site.name)
                self.sketches[tap.site.name] = sketch if known is None else known + sketch

        return hook

    def _meant(self, taps: list[Tap]) -> Tap | None:
        """The tap that this call of a module is for."""
        call = self._calls[id(taps[0].module)]
        self._calls[id(taps[0].module)] += 1
        if taps[0].firing is None:
            return taps[0] if call == 0 or taps[0].last else None
        return next((tap for tap in taps if tap.firing == call), None)


def sketched(values: torch.Tensor) -> npt.NDArray[np.int64]:
    """The sketch of rows [tokens, width], int64 [SKETCHED]; rows of zeros, and what is not finite, have no part in
    it.
    """
    rows = values.detach().to("cpu", torch.float64)
    lengths = rows.norm(dim=1, keepdim=True)
    rows = torch.where(lengths.isfinite() & (lengths > 0), rows / lengths, 0.0)
    places = torch.arange(rows.numel(), dtype=torch.int64)
    mixed = places * 2654435761 & _MASK
    mixed = (mixed ^ (mixed >> 15)) * 2246822519 & _MASK
    mixed = (mixed ^ (mixed >> 13)) * 3266489917 & _MASK
    mixed = mixed ^ (mixed >> 16)
    signs = (mixed >> 31 & 1) * 2 - 1
    sums = torch.zeros(SKETCHED, dtype=torch.float64)
    sums.index_add_(0, mixed % SKETCHED, rows.flatten() * signs)
    sketch: npt.NDArray[np.int64] = np.rint(sums.numpy() * 10_000).astype(np.int64)
    return sketch


def _share(before: torch.Tensor, after: torch.Tensor) -> float:
    """The share of entries that differ by more than `_FELT` of themselves; one that is not finite differs."""
    one, other = before.to(after.device).float(), after.float()
    same = (other - one).abs() <= _FELT * other.abs()
    return 1.0 - same.double().mean().item()


def _stream(given: tuple[Any, Any], after: torch.Tensor) -> torch.Tensor | None:
    """The residual stream among what a layer was given: the first tensor of its output's form."""
    values = (*given[0], *given[1].values())
    return next(
        (v for v in values if isinstance(v, torch.Tensor) and v.shape == after.shape and v.is_floating_point()), None
    )


def _copied(values: Any) -> Any:
    if isinstance(values, torch.Tensor):
        return values.clone()
    if isinstance(values, dict):
        return {name: _copied(value) if isinstance(value, torch.Tensor) else value for name, value in values.items()}
    return tuple(value.clone() if isinstance(value, torch.Tensor) else value for value in values)


def _silenced(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return torch.zeros_like(output)
    if isinstance(output, (tuple, list)):
        return type(output)((torch.zeros_like(output[0]), *output[1:]))
    first = next(iter(output))
    output[first] = torch.zeros_like(output[first])
    return output


def _first(output: Any) -> torch.Tensor:
    found: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return found


def _by_module(taps: list[Tap]) -> list[list[Tap]]:
    groups: dict[int, list[Tap]] = {}
    for tap in taps:
        groups.setdefault(id(tap.module), []).append(tap)
    return list(groups.values())
