"""A scheme in effect on a model: while a linear layer runs, its input and its weight are what the scheme restores of
them.

Whatever is changed is put back bit for bit, and at any time no more than one quantized weight is held. Weights that are
fetched for every call are quantized once they are there.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.quantize import fake_quantized
from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.checkpoint.sites.modules import class_of
from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.measure.effect.casting import holding
from pytest_maxact.measure.effect.headed import Forward, forwards, forwards_named
from pytest_maxact.measure.effect.mending import linear_layer
from pytest_maxact.measure.observe.inputs import is_same
from pytest_maxact.measure.observe.products import Products
from pytest_maxact.numbers.schemes import Quantizer, Scheme
from pytest_maxact.record.reading import SiteReading, distributions_of


class Simulation:
    """A scheme in effect on linear layers; `running` around each forward pass.

    Modules call by call as `Tap.firing` numbers them; a part without a calibration maximum of its own was given the
    same tensor as one that has it.
    """

    def __init__(
        self,
        model: nn.Module,
        scheme: Scheme,
        taps: Iterable[Tap],
        readings: Mapping[str, SiteReading],
        kept: Collection[str],
        inputs: Callable[[Tap, torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        """`inputs`: what becomes of what a tap is given, where it is not the scheme that says so."""
        self._model = model
        self._scheme = scheme
        self._taps: dict[nn.Module, list[Tap]] = {}
        for tap in taps:
            self._taps.setdefault(tap.module, []).append(tap)
        self._readings = readings
        self._kept = kept
        self._inputs = inputs
        self._calibrated = scheme.activations is not None and scheme.activations.needs_calibration
        self._calls: Counter[nn.Module] = Counter()
        self._ran: set[Tap] = set()
        self._given: list[tuple[Tap, torch.Tensor]] = []
        self._last: tuple[torch.Tensor, tuple[int, float | None], torch.Tensor] | None = None
        """The last input that was quantized, its state then and the scale's origin, and what became of it: several
        layers may be given one tensor.
        """

    @contextmanager
    def running(self) -> Iterator[None]:
        """Raises MeasureError, in the end, for a linear layer that did not run."""
        self._calls.clear()
        self._ran.clear()
        with forwards({module: self._forward(module, taps) for module, taps in self._taps.items()}, fetched=True):
            yield
        self._given.clear()
        self._last = None
        for tap in (tap for taps in self._taps.values() for tap in taps if tap not in self._ran):
            if not (tap.experts is not None and tap.routed and (tap.reads == "input" or tap.experts.skips)):
                raise MeasureError(
                    f"{linear_layer(tap)} did not run under {self._scheme.name}\n  please report the model_type"
                )

    def _forward(self, module: nn.Module, taps: Sequence[Tap]) -> Forward:
        own: Forward = getattr(module, forwards_named(module, fetched=True))

        def forward(*args: Any, **kwargs: Any) -> Any:
            every = self._meant(module, taps)
            values = [*args, *kwargs.values()]
            place = next(i for i, value in enumerate(values) if isinstance(value, torch.Tensor))
            for tap in every if self._calibrated else ():
                if tap.reads == "input":
                    self._note(tap, values[place])
            meant = [tap for tap in every if not self._keeps(tap)]
            transposed = _is_transposed(module, taps, values[place].shape[-1])
            with ExitStack() as stack:
                stack.enter_context(
                    holding((weight, data) for tap in meant for weight, data in self._weights(tap, transposed))
                )
                for tap in meant:
                    if tap.reads == "input":
                        values[place] = self._quantized_input(tap, values[place])
                    elif tap.parameter is not None:
                        here = self._model.get_parameter(tap.weights[0])  # another one each time it is fetched
                        stack.enter_context(Products(here, replace=partial(self._factor, tap)))
                return own(*values[: len(args)], **dict(zip(kwargs, values[len(args) :], strict=True)))

        return forward

    def _meant(self, module: nn.Module, taps: Sequence[Tap]) -> list[Tap]:
        call = self._calls[module]
        self._calls[module] += 1
        meant = [tap for tap in taps if tap.firing in (None, call)]
        if not meant:
            raise MeasureError(f"{linear_layer(taps[0])} was called {call + 1} times\n  please report the model_type")
        self._ran.update(tap for tap in meant if tap.reads == "input" or self._keeps(tap))
        return meant

    def _keeps(self, tap: Tap) -> bool:
        """Whether a tap stays in 16 bits, with its site or alone."""
        return tap.site.name in self._kept or linear_layer(tap) in self._kept

    def _factor(self, tap: Tap, factor: torch.Tensor) -> torch.Tensor:
        """What a stacked matrix is to be multiplied with; a batched product may hold a row as a column, [rows, width,
        1].
        """
        assert tap.parameter is not None
        self._ran.add(tap)
        if factor.ndim == 3 and factor.shape[-1] == 1 and factor.shape[-2] in tap.parameter.shape[1:]:
            return self._quantized_input(tap, factor.squeeze(-1)).unsqueeze(-1)
        return self._quantized_input(tap, factor)

    def _quantized_input(self, tap: Tap, given: torch.Tensor) -> torch.Tensor:
        if self._inputs is not None:
            return self._inputs(tap, given)
        how = self._scheme.activations
        if how is None:
            return given
        self._refuse_width(tap, "input", how, given.shape[-1])
        amax = self._amax(tap, given) if how.needs_calibration else None
        state = (given._version, amax)
        if self._last is None or self._last[0] is not given or self._last[1] != state:
            largest = None if amax is None else torch.tensor(amax, dtype=given.dtype, device=given.device)
            self._last = given, state, fake_quantized(given, how, largest)
        return self._last[2]

    def _amax(self, tap: Tap, given: torch.Tensor) -> float:
        """The calibration maximum of a tap's part, or of the part that was given the same tensor."""
        reading = self._readings.get(tap.site.name)
        channels = None if reading is None else distributions_of(reading, "the maxima of channels").channels
        parts = channels.parts if channels else {}
        part: str | None = tap.part
        if part not in parts:
            part = next(
                (
                    known.part
                    for known, tensor in self._given
                    if known.site.name == tap.site.name and known.part in parts and is_same(tensor, given)
                ),
                None,
            )
        if part is None:
            raise MeasureError(
                f"{linear_layer(tap)}: {self._scheme.name} needs the calibration maximum of its input, and the Record "
                "has none\n"
                f"  measure again with {setting('schemes')} {self._scheme.name}"
            )
        return float(parts[part].max())

    def _note(self, tap: Tap, given: torch.Tensor) -> None:
        """Note what a linear layer is given, kept in 16 bits or not, while its decoder layer runs."""
        if self._given and self._given[0][0].site.layer != tap.site.layer:
            self._given.clear()
        self._given.append((tap, given))

    def _weights(self, tap: Tap, transposed: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The weights of a tap, with what the scheme restores of them: [out, in], or [experts, out, in], of which each
        is a matrix of its own.
        """
        how = self._scheme.weights
        for path in tap.weights if how is not None else ():
            assert how is not None
            weight = self._model.get_parameter(path)
            matrices = weight.data.mT if transposed else weight.data
            self._refuse_width(tap, "weight", how, matrices.shape[-1])
            data = torch.empty_like(weight.data)
            for target, matrix in zip(data, matrices, strict=True) if data.ndim == 3 else [(data, matrices)]:
                restored = fake_quantized(matrix.contiguous(), how)
                target.copy_(restored.mT if transposed else restored)
            yield weight, data

    def _refuse_width(self, tap: Tap, what: str, how: Quantizer, width: int) -> None:
        if reason := how.refuses(width):
            raise MeasureError(
                f"{linear_layer(tap)}: {self._scheme.name} cannot quantize its {what}, {reason}\n"
                f"  keep {tap.site.name} in 16 bits, or choose another scheme"
            )


def _is_transposed(module: nn.Module, taps: Sequence[Tap], width: int) -> bool:
    """Whether the weights of a module that is given rows so wide are stored [in, out]."""
    if (stated := getattr(module, "is_transposed", None)) is not None:
        return bool(stated)
    first = next(tap.weights[0] for tap in taps if tap.reads == "input")
    return class_of(module) == "Conv1D" or module.get_parameter(first.rpartition(".")[2]).shape[-1] != width
