"""An artifact as its runtime runs it: files and the model loaded from them in, a context out in which the input of
every linear layer is quantized as the files say.

Every plain linear layer is meant, the head too, and of stacked experts every one. What several layers are given at once
has one static scale, as vLLM takes it where it fuses them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.formats.given import Given, of_experts, of_fused
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.checkpoint.sites.modules import is_linear
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.checkpoint.weights.restored import beside_of
from pytest_maxact.checkpoint.weights.stored import headers, placed_in
from pytest_maxact.errors import MeasureError, first_line
from pytest_maxact.measure.effect.headed import Headed
from pytest_maxact.measure.effect.mending import linear_layer
from pytest_maxact.measure.effect.simulate import Simulation
from pytest_maxact.numbers.schemes import Scheme

_AS_STATED = Scheme(name="what its files say")
_FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("w1", "w3"))
_AGAIN = "  runtimes would take what was allocated for it; export the checkpoint again"
_Input = tuple[Given, Mapping[str, torch.Tensor]]


class Served:
    """`running` around each forward pass, `heading` around what the head alone makes of final hidden states."""

    def __init__(self, model: nn.Module, taps: Sequence[Tap], inputs: Mapping[str, _Input]) -> None:
        self._plain = {
            module: (path, inputs[path])
            for path in inputs
            if is_linear(module := model.get_submodule(path.rpartition(".")[0]))
        }
        stacked = {tap: how for tap in taps if tap.module not in self._plain and (how := _of(tap, inputs)) is not None}
        self._stacked = stacked
        known = {path for tap in stacked for path in tap.weights} | {path for path, _ in self._plain.values()}
        if unknown := sorted(inputs.keys() - known):
            raise _unseen(unknown[0])
        self._simulation = Simulation(model, _AS_STATED, list(stacked), {}, (), inputs=self._of_stack)
        self._expected = {tap.module: tap for tap in taps if tap.module in self._plain and tap.experts is None}
        self._ran: set[nn.Module] = set()
        self._last: tuple[torch.Tensor, int, _Input, torch.Tensor] | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Raises MeasureError, in the end, for a linear layer of the decoder that did not run."""
        self._ran.clear()
        with self.heading(), self._simulation.running() if self._stacked else nullcontext():
            yield
        missed = [tap for module, tap in self._expected.items() if module not in self._ran]
        if missed:
            raise _unseen(linear_layer(missed[0]))

    @contextmanager
    def heading(self) -> Iterator[None]:
        """Without experts, of which the head has none."""
        handles = [module.register_forward_pre_hook(self._before, with_kwargs=True) for module in self._plain]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._last = None

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        self._ran.add(module)
        path, how = self._plain[module]
        if args:
            return (self._restored(path, how, args[0]), *args[1:]), kwargs
        name = next(iter(kwargs))
        return args, {**kwargs, name: self._restored(path, how, kwargs[name])}

    def _of_stack(self, tap: Tap, given: torch.Tensor) -> torch.Tensor:
        return self._restored(linear_layer(tap), self._stacked[tap], given)

    def _restored(self, path: str, how: _Input, given: torch.Tensor) -> torch.Tensor:
        """What was restored last is kept: several layers may be given one tensor."""
        last = self._last
        if last is not None and last[0] is given and last[1] == given._version and last[2] is how:
            return last[3]
        try:
            found: torch.Tensor = how[0].restore(given, how[1]) if given.numel() else given
        except Exception as error:
            raise MeasureError(
                f"{path}: its input cannot be quantized as the files say ({first_line(error)})\n"
                "  see that its groups divide it, and that its scales are of the shape that the format has"
            ) from error
        self._last = (given, given._version, how, found)
        return found


def served(model: nn.Module, files: WeightFiles, taps: Sequence[Tap]) -> Served | None:
    """How an artifact runs where it is served; None where weights alone are quantized. `taps`: on inputs of linear
    layers of the model, which was loaded from `files`. Raises MeasureError for a static scale that is not there, and
    for experts of one layer that are quantized in different ways.
    """
    packed = files.packing.packed if files.packing else {}
    if not any(one.given for one in packed.values()):
        return None
    beside, by_path = beside_of(files), {}
    for path, parts in placed_in(headers(files), model).items():
        given = [(part.key, how) for part in parts if part.key in packed and (how := packed[part.key].given)]
        if not given or not _multiplies(model, path):
            continue
        if len(given) < len(parts) or len({how.how for _, how in given}) > 1:
            raise MeasureError(f"{path}: inputs of its parts are quantized in several ways\n{_AGAIN}")
        if lacking := next(((key, how.lacks) for key, how in given if how.lacks), None):
            raise MeasureError(f"{files.folder}: {lacking[0]} has no {lacking[1]} beside it, for its inputs\n{_AGAIN}")
        scales = [{name: beside[part.header.key] for name, part in how.parts.items()} for _, how in given]
        by_path[path] = given[0][1], of_experts(scales)
    return Served(model, taps, _shared(by_path)) if by_path else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _HeadedAsServed(Headed):
    """A causal language model whose linear layers are given what their kernels would read."""

    how: Served

    def states(self, input_ids: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        with self.how.running():
            return Headed.states(self, input_ids, **inputs)

    def logits(self, ids: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        with self.how.heading():
            return Headed.logits(self, ids, states)


def as_served(headed: Headed, checkpoint: Checkpoint, files: WeightFiles) -> Headed:
    """The same model, run as its files say; itself where weights alone are quantized."""
    if files.packing is None:
        return headed
    taps = resolve(headed.model, checkpoint.config, linear_inputs=True).linears
    how = served(headed.model, files, taps)
    if how is None:
        return headed
    return _HeadedAsServed(
        model=headed.model, backbone=headed.backbone, wrap=headed.wrap, device=headed.device, how=how
    )  # fmt: skip


def _multiplies(model: nn.Module, path: str) -> bool:
    """Whether a path is that of a parameter of the model, and what it belongs to no table that is looked up."""
    place, _, name = path.rpartition(".")
    try:
        owner = model.get_submodule(place)
    except AttributeError:
        return False
    return name in owner._parameters and not isinstance(owner, nn.Embedding)


def _of(tap: Tap, inputs: Mapping[str, _Input]) -> _Input | None:
    found = [inputs[path] for path in tap.weights if path in inputs]
    return (found[0][0], of_experts([scales for _, scales in found])) if found else None


def _shared(by_path: Mapping[str, _Input]) -> dict[str, _Input]:
    """Projections that runtimes fuse, which are given one tensor, with one static scale."""
    found = dict(by_path)
    for path in by_path:
        parent, _, own = path.removesuffix(".weight").rpartition(".")
        names = next((names for names in _FUSED if own == names[0]), ())
        together = [beside for name in names if (beside := f"{parent}.{name}.weight") in by_path]
        if (
            len({frozenset(by_path[one][1]) for one in together}) == 1
            and len({by_path[one][0].how for one in together}) == 1
        ):
            one = by_path[together[0]][0], of_fused([by_path[beside][1] for beside in together])
            found.update(dict.fromkeys(together, one))
    return found


def _unseen(layer: str) -> MeasureError:
    return MeasureError(
        f"{layer} did not run as a linear layer, so its input was not quantized as the files say\n"
        "  please report the model_type"
    )
