"""A piece of work that another process left before a layer, brought there again: where it stood in, the same piece of
work before the same layer out, with the hidden states that lie on disk.

The forward pass runs as it is written, from its beginning, with layers that give back what they are given: all that it
keeps in variables of its own is there again, but for what it made of outputs of those layers. Guards that it made
nothing of them that it still needs (`unportable` tries that out), and that whatever the layer is given beside hidden
states is what it was, to the bit.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pytest_maxact.errors import MeasureError, first_line
from pytest_maxact.measure.effect.headed import forwards
from pytest_maxact.measure.observe.products import tensors_in
from pytest_maxact.measure.stream.spill import Laid, Spill, raw


class NotResumedError(MeasureError):
    """Why a streamed pass does not go on where it was: it is to begin anew."""


class UnportableError(Exception):
    """Something beside hidden states goes from layer to layer, and cannot be told as plain data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a layer is about to be given: `form`, every value as words, tensors by dtype and shape; `rest`, a digest of
    all tensors that are no hidden states.
    """

    form: str
    rest: str


def standing(given: Any, spill: Spill) -> Standing:
    """`given`: arguments of a layer, whose hidden states may be laid down. Raises UnportableError."""
    digest = hashlib.sha256()
    words: list[str] = []
    for value in _values(given, exact=True):
        if not isinstance(value, torch.Tensor):
            words.append(value)
            continue
        words.append(f"{value.dtype} {tuple(value.shape)} {value.stride()}")
        if not spill.is_wide(value):
            # of a copy, for memory that numpy has seen can be taken from no tensor any more
            digest.update(value.detach().cpu().clone().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return Standing(form="; ".join(words), rest=digest.hexdigest())


class Replay:
    """Of one piece of work. `before`: the layers that it has behind it, `target`: the one that it waits for; `suspend`
    and `resume`: observing it.
    """

    def __init__(
        self, before: Sequence[nn.Module], target: nn.Module, spill: Spill, laid: Laid, stood: Standing,
        suspend: Callable[[], None], resume: Callable[[], None],
    ) -> None:  # fmt: skip
        self.target = target
        self._before, self._spill, self._laid, self._stood = before, spill, laid, stood
        self._suspend, self._resume = suspend, resume
        self._stack = ExitStack()

    def begin(self) -> None:
        self._stack.enter_context(forwards(dict.fromkeys(self._before, self._passed_by)))

    def arrive(self, given: Any) -> None:
        """Before the layer that it waits for: hidden states are what they were. Raises NotResumedError."""
        self.close()
        try:
            found = standing(given, self._spill)
        except UnportableError as error:
            raise NotResumedError(str(error)) from error
        if found != self._stood:
            raise NotResumedError("what a layer is given beside hidden states is not what it was")
        try:
            self._spill.take_up_into(self._laid, self._spill.storages(given))
        except MeasureError as error:
            raise NotResumedError(first_line(error)) from error
        self._resume()

    def close(self) -> None:
        self._stack.close()

    def _passed_by(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self._suspend()
        return next(tensor for tensor in tensors_in((args, kwargs)) if self._spill.is_wide(tensor)).clone()


def unportable(
    decoder: nn.Module, layers: Sequence[nn.Module], place: int, tried: Sequence[Mapping[str, torch.Tensor]],
    spill: Spill, known: Collection[str],
) -> str:  # fmt: skip
    """Why work that stands before the layer at `place`, which is about to be given values of these `known` forms, could
    not be brought there again; empty where it can. The decoder runs twice on each of a few inputs, all its layers
    giving random numbers: with others before that place, and the same from there on, nothing may come out differently.
    """
    found = set[str]()
    for inputs in tried:
        try:
            first = _Stubbed(layers, place, spill)
            first.run(decoder, inputs)
            second = _Stubbed(layers, place, spill, first)
            second.run(decoder, inputs)
        except Exception as error:
            return f"its decoder does not run without its layers ({first_line(error)})"
        if first.order != list(range(len(layers))):
            return "its layers do not run once each, in their order"
        if len(first.seen) != len(second.seen) or not all(map(torch.equal, first.seen, second.seen)):
            return "it keeps more of its layers than the hidden states that they hand on"
        found.add(first.form)
    return "" if found >= set(known) else "its layers are given something that those before them made"


class _Stubbed:
    """One such run. `seen`: all tensors that layers from `place` on were given, and what came out in the end."""

    def __init__(self, layers: Sequence[nn.Module], place: int, spill: Spill, other: "_Stubbed | None" = None) -> None:
        self._layers, self._place, self._spill, self._other = layers, place, spill, other
        self.order: list[int] = []
        self.seen: list[torch.Tensor] = []
        self.kept: list[torch.Tensor] = []
        self.form = ""

    def run(self, decoder: nn.Module, inputs: Mapping[str, torch.Tensor]) -> None:
        stubs = {layer: self._stub(number) for number, layer in enumerate(self._layers)}
        with torch.inference_mode(), forwards(stubs):
            output = decoder(**inputs, use_cache=False)
        self.seen.append(output if isinstance(output, torch.Tensor) else output[0])

    def _stub(self, number: int) -> Callable[..., torch.Tensor]:
        def forward(*args: Any, **kwargs: Any) -> torch.Tensor:
            given = (args, kwargs)
            self.order.append(number)
            if number == self._place:
                self._stand(given)
            if number >= self._place:
                self.seen += [tensor.clone() for tensor in tensors_in(given)]
            hidden = next(tensor for tensor in tensors_in(given) if self._spill.is_wide(tensor))
            other = self._other is not None and number < self._place
            draw = torch.Generator().manual_seed(2 * number + other)
            return torch.randn(hidden.shape, generator=draw).to(hidden.device, hidden.dtype)

        return forward

    def _stand(self, given: Any) -> None:
        self.form = "; ".join(forms(given))
        storages = self._spill.storages(given)
        if self._other is None:
            self.kept = [raw(storage).clone() for storage in storages]
            return
        for storage, content in zip(storages, self._other.kept, strict=True):
            raw(storage).copy_(content)


def forms(given: Any) -> list[str]:
    """What kind of value is where. Raises UnportableError."""
    return [
        str(value.dtype) if isinstance(value, torch.Tensor) else value for value in _values(given, exact=False)
    ]  # fmt: skip


def _values(value: Any, exact: bool) -> list[Any]:
    """Tensors, and everything else as words. Raises UnportableError for what holds more than can be told."""
    if isinstance(value, torch.Tensor):
        return [value]
    if value is None or isinstance(value, (bool, str, torch.dtype, torch.device)):
        return [repr(value)]
    if isinstance(value, (int, float)):
        return [repr(value) if exact else type(value).__name__]
    if type(value) in (tuple, list):
        return [f"{type(value).__name__} {len(value)}", *(one for member in value for one in _values(member, exact))]
    if type(value) is dict:
        found: list[Any] = [f"dict {len(value)}"]
        for key, member in value.items():
            found += [repr(key), *_values(member, exact)]
        return found
    raise UnportableError(f"a layer is given a {type(value).__name__}, which holds what cannot be told")
