"""A causal language model in two parts: the backbone that gives final hidden states, and its head, which sees a few
rows at a time.

The head is the model's own forward pass with its backbone replaced, so soft caps, scales and norms of every
architecture apply.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.completeness import refuse_partial
from pytest_maxact.checkpoint.heads import headed_class, lacking_head
from pytest_maxact.checkpoint.load import load_as
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.placement.placement import Placement
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.modules import class_of
from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.settings.settings import Settings

_SAME, _ROUNDED = 1e-3, 1e-2
"""Relative differences that count as none, in float32 and in 16 bits: experts may be given other rows beside the same
ones.
"""
Forward = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Headed:
    """A causal language model. `backbone`: the part of it that its forward pass calls for the final hidden states [B,
    T, width]; all else is its head. `wrap` makes of hidden states what the backbone returns.
    """

    model: nn.Module
    backbone: nn.Module
    wrap: Callable[[torch.Tensor], Any]
    device: torch.device

    def states(self, input_ids: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        """Final hidden states [B, T, width] of `input_ids` [B, T]; of the head no more is run than a row."""
        backbone, found = self.backbone.forward, []

        def forward(*args: Any, **kwargs: Any) -> Any:
            found.append(first_tensor(backbone(*args, **kwargs)))
            return self.wrap(found[0][:1, :1])

        with forwards({self.backbone: forward}):
            self.model(input_ids=input_ids, **inputs, use_cache=False)
        if found[0].shape[:2] != input_ids.shape:
            raise _unknown(
                self.model, f"its backbone gives {list(found[0].shape)} for a batch of {list(input_ids.shape)}"
            )
        return found[0]

    def logits(self, ids: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """What the head makes of the final hidden states [tokens, width] of ids [tokens]: [tokens, vocabulary]."""
        with forwards({self.backbone: lambda *args, **kwargs: self.wrap(states[None])}):
            return first_tensor(self.model(input_ids=ids[None], use_cache=False))[0]

    def log_probabilities(self, ids: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Next-token log-probabilities, float64 [tokens, vocabulary], of ids and states on the host."""
        return self.logits(ids.to(self.device), states.to(self.device)).double().log_softmax(1)

    @property
    def head(self) -> list[torch.Tensor]:
        """Parameters and buffers of the head, those among them that it shares with the backbone."""
        inside = set(self.backbone.modules())
        parts = [module for module in self.model.modules() if module not in inside]
        return [
            tensor for module in parts for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))
        ]


def load_with_head(
    checkpoint: Checkpoint, settings: Settings, placement: Placement | None = None
) -> tuple[nn.Module, torch.device]:
    """The model with its head. Raises MeasureError where weights are missing, its head's among them, or do not fit."""
    model, info, _, device = load_as(headed_class(checkpoint), checkpoint, settings, placement)
    refuse_partial(model, decoder_of(model), info, checkpoint)
    if lacking := lacking_head(model, info):
        raise MeasureError(
            f"the weights of {checkpoint.name} lack the LM head ({lacking}), without which there are no predictions "
            "to compare\n"
            f"  save the model with its head, or leave out {setting('effect')} and {setting('deploy')}: "
            f"{setting('schemes')} needs "
            "no head"
        )
    return model, device


def headed_of(model: nn.Module, ids: torch.Tensor, device: torch.device, decoder: nn.Module | None = None) -> Headed:
    """The backbone of a model, tried on a few ids [tokens]. `decoder`: the part of it that gives the final hidden
    states by itself.

    Raises MeasureError where its predictions do not follow from the final hidden states, or a token sees those after
    it.
    """
    decoder = decoder_of(model) if decoder is None else decoder
    around = [
        module
        for module in model.modules()
        if module is not model and any(inner is decoder for inner in module.modules())
    ]
    called: list[tuple[nn.Module, Any]] = []
    given: list[torch.Tensor] = []
    handles = [
        module.register_forward_hook(lambda module, args, output: called.append((module, output))) for module in around
    ]
    handles.append(decoder.register_forward_hook(lambda module, args, output: given.append(first_tensor(output))))
    try:
        logits = first_tensor(model(input_ids=ids[None], use_cache=False))[0]
    finally:
        for handle in handles:
            handle.remove()
    if not called:
        raise _unknown(model, "its head cannot be told from its backbone")
    backbone, output = called[-1]
    headed = Headed(model=model, backbone=backbone, wrap=_wrapping(output), device=device)
    if not given or not torch.equal(given[-1].nan_to_num(), first_tensor(output).nan_to_num()):
        raise _unknown(model, "its final hidden states are not those that its decoder gives")
    again = headed.logits(ids, first_tensor(output)[0])
    if again.shape != logits.shape or not torch.allclose(
        again.float(), logits.float(), rtol=_SAME, atol=_SAME, equal_nan=True
    ):
        raise _unknown(model, "its predictions do not follow from its final hidden states alone")
    before, after = first_tensor(output)[0, :-1], headed.states(altered(ids)[None])[0, :-1]
    allowed = _SAME if before.dtype == torch.float32 else _ROUNDED
    if (after.double() - before.double()).norm() > allowed * before.double().norm():
        raise MeasureError(
            f"{class_of(model)} has no next-token distribution: a token sees those after it\n"
            f"  leave out {setting('effect')}, which is for causal language models"
        )
    return headed


def altered(ids: torch.Tensor) -> torch.Tensor:
    """Ids [tokens] with another last token."""
    return torch.cat([ids[:-1], ids[-1:] - 1 if ids[-1] else ids[-1:] + 1])


def _wrapping(output: Any) -> Callable[[torch.Tensor], Any]:
    """Hidden states in the form of a backbone's output."""
    if isinstance(output, torch.Tensor):
        return lambda states: states
    kind = type(output)
    return (
        (lambda states: kind(last_hidden_state=states))
        if hasattr(output, "last_hidden_state")
        else lambda states: (states,)
    )


def _unknown(model: nn.Module, what: str) -> MeasureError:
    return MeasureError(
        f"{class_of(model)}: {what}\n  its predictions cannot be measured yet; please report the model_type"
    )


def first_tensor(output: Any) -> torch.Tensor:
    found: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return found


@contextmanager
def forwards(forwards: Mapping[nn.Module, Forward], fetched: bool = False) -> Iterator[None]:
    """Modules with other forward methods for the duration of the context. `fetched`: within what fetches their weights
    for each call, where they are fetched.
    """
    names = {module: forwards_named(module, fetched) for module in forwards}
    stored = {module: vars(module).get(name) for module, name in names.items()}
    try:
        for module, forward in forwards.items():
            setattr(module, names[module], forward)
        yield
    finally:
        for module, own in stored.items():
            if own is None:
                vars(module).pop(names[module], None)
            else:
                setattr(module, names[module], own)


def forwards_named(module: nn.Module, fetched: bool) -> str:
    """What the forward method of a module is called: accelerate keeps a module's own, and calls it with its weights."""
    return "_old_forward" if fetched and "_old_forward" in vars(module) else "forward"
