"""The matrices below every decoder layer, found by what they are, and what each is given, read off with one plain hook
per module.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from .configs import headless
from .modules import MODULES

ROUTERS = {"zaya": "mlp.gate"}
"""Where the router is more than the module whose product is the logits."""


def matrices_of(layer: nn.Module) -> set[str]:
    """Paths below a layer of the weights of linear layers and of stacked experts."""
    found = set()
    for path, module in layer.named_modules():
        if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":
            found.add(f"{path}.weight")
        elif "Experts" in type(module).__name__:
            found |= {
                f"{path}.{name}" for name, parameter in module.named_parameters(recurse=False) if parameter.ndim == 3
            }
    return found


def is_router(model_type: str, path: str) -> bool:
    """Whether a weight below a layer belongs to the router of a feed-forward block."""
    router = ROUTERS.get(model_type) or MODULES[model_type].router
    return router is not None and f"{path}.".startswith(f"{router}.")


Calls = dict[str, list[float]]
"""By weight, the largest magnitude it was multiplied with in its first, second, ... call within a pass."""


@torch.inference_mode()
def plain_inputs(model: nn.Module, model_type: str, weights: set[str], rows: Sequence[Sequence[int]]) -> Calls:
    """What each weight is given, one sequence of token ids at a time, without padding."""
    base, reader = headless(model), _Reader(model_type)
    options = {"use_cache": False} if "use_cache" in inspect.signature(base.forward).parameters else {}
    owners: dict[str, list[str]] = {}
    for weight in weights:
        owners.setdefault(weight.rpartition(".")[0], []).append(weight)
    handles = [
        model.get_submodule(owner).register_forward_pre_hook(
            reader.hook(model.get_submodule(owner), names), with_kwargs=True
        )
        for owner, names in owners.items()
    ]
    try:
        for ids in rows:
            reader.begin(len(ids))
            base(input_ids=torch.tensor([list(ids)]), **options)
    finally:
        for handle in handles:
            handle.remove()
    return reader.calls


class _Reader:
    def __init__(self, model_type: str) -> None:
        self.model_type = model_type
        self.modules = MODULES[model_type]
        self.calls: Calls = {}
        self._tokens = 0
        self._number: dict[str, int] = {}

    def begin(self, tokens: int) -> None:
        self._tokens = tokens
        self._number = {}

    def hook(self, module: nn.Module, weights: list[str]) -> Any:
        def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            for weight in weights:
                fused_last = "down" in weight.rpartition(".")[2]
                given = last_inputs(self.model_type, module, *tensors[:2]) if fused_last else [self._own(tensors[0])]
                self._note(weight, max(float(x.abs().max()) for x in given))

        return take

    def _own(self, x: Tensor) -> Tensor:
        """Without prompt positions and predicting streams, which are no tokens."""
        if self.modules.prefix and x.ndim == 3 and x.shape[1] == self.modules.prefix + self._tokens:
            return x[:, self.modules.prefix :]
        if self.modules.copies > 1 and x.ndim == 3 and x.shape[1] == self.modules.copies * self._tokens:
            return x[:, : self._tokens]
        return x

    def _note(self, weight: str, value: float) -> None:
        number = self._number.get(weight, 0)
        self._number[weight] = number + 1
        seen = self.calls.setdefault(weight, [])
        if number == len(seen):
            seen.append(value)
        seen[number] = max(seen[number], value)


def last_inputs(model_type: str, experts: Any, x: Tensor, chosen: Tensor | None = None) -> Iterator[Tensor]:
    """What the last matrix of each of some fused experts is given."""
    x = x.reshape(-1, x.shape[-1])
    # every expert takes in every token, times a score that is zero where it was not chosen
    if model_type == "llama4_text":
        gate, up = torch.bmm(x.view(experts.num_experts, -1, experts.hidden_size), experts.gate_up_proj).chunk(
            2, dim=-1
        )
        yield silu(gate) * up
        return
    assert chosen is not None
    for number in range(len(experts.down_proj)):
        tokens = x[(chosen == number).any(dim=-1)]
        if len(tokens):
            yield _inside(model_type, experts, number, tokens)


def _inside(model_type: str, experts: Any, number: int, x: Tensor) -> Tensor:
    activated: Tensor
    if model_type == "nemotron_h":
        activated = experts.act_fn(linear(x, experts.up_proj[number]))
        return activated
    matrix: Tensor = experts.gate_up_proj[number]
    if model_type == "gpt_oss":
        both: Tensor = x @ matrix + experts.gate_up_proj_bias[number]
        gate, up = both[..., ::2].clamp(max=7.0), both[..., 1::2].clamp(-7.0, 7.0)
        return (up + 1) * gate * torch.sigmoid(1.702 * gate)
    gate, up = (x @ matrix if model_type == "aria_text" else linear(x, matrix)).chunk(2, dim=-1)
    if model_type == "minimax_m3_vl_text":
        slope: float = experts.swiglu_alpha
        return (up + 1) * gate * torch.sigmoid(slope * gate)
    if model_type == "inkling2_text":
        activated = experts.act_fn(gate, up)
        return activated
    activated = silu(gate) if model_type == "hy_v4" else experts.act_fn(gate)
    return activated * up
