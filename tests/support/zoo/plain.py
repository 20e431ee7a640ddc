"""Maximum activations of a model, read off with one plain forward hook per module named in `modules.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .configs import headless
from .modules import MODULES, Experts, Modules, Tap


@dataclass
class Reading:
    """Maximum |x| over the real tokens per site, and how many real tokens chose each expert per router."""

    maxima: dict[str, float] = field(default_factory=dict)
    tokens_per_expert: dict[str, list[int]] = field(default_factory=dict)


def plain_maxima(base_model: nn.Module, model_type: str, input_ids: Tensor, attention_mask: Tensor) -> dict[str, float]:
    return plain_reading(base_model, model_type, input_ids, attention_mask).maxima


def tokens_per_expert(
    base_model: nn.Module, model_type: str, input_ids: Tensor, attention_mask: Tensor
) -> dict[str, list[int]]:
    return plain_reading(base_model, model_type, input_ids, attention_mask).tokens_per_expert


def plain_reading(base_model: nn.Module, model_type: str, input_ids: Tensor, attention_mask: Tensor) -> Reading:
    """One forward of the headless model on a right-padded batch."""
    model = headless(base_model)
    reader = _Reader(MODULES[model_type], attention_mask.bool())
    handles = reader.attach(model)
    options = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
    try:
        with torch.inference_mode():
            model(input_ids=input_ids, attention_mask=attention_mask, **options)
    finally:
        for handle in handles:
            handle.remove()
    return reader.reading


class _Reader:
    def __init__(self, modules: Modules, mask: Tensor) -> None:
        self.modules = modules
        self.mask = mask
        self.reading = Reading()
        self.handles: list[Any] = []

    def attach(self, model: nn.Module) -> list[Any]:
        modules = self.modules
        self.tap("embedding", model, Tap(modules.embedding))
        if modules.norm is not None:
            self.tap("final_norm", model, Tap(modules.norm))
        layers = [layer for path in modules.layers for layer in model.get_submodule(path)]
        for i, layer in enumerate(layers):
            self.attach_layer(model, layer, i)
        return self.handles

    def attach_layer(self, model: nn.Module, layer: nn.Module, i: int) -> None:
        modules, site = self.modules.of(i), f"layers.{i}"
        self.on_output(layer, lambda x: self.note(f"{site}.hidden", x))
        for kind, taps in (("attn_output", modules.mixer), ("mlp_output", modules.mlp), ("gate", modules.gate)):
            for entry in taps:
                tap = entry if isinstance(entry, Tap) else Tap(entry)
                root, path = (model, tap.path[1:].format(i=i)) if tap.path.startswith("/") else (layer, tap.path)
                if _has(root, path):
                    self.tap(f"{site}.{kind}", root, Tap(path, tap.side, tap.half, tap.ndim))
        if modules.router is not None and _has(layer, modules.router):
            router = layer.get_submodule(modules.router)
            self.on_input(router, lambda x, *_: self.note(f"{site}.router", router_logits(router, x)))
        if modules.experts is not None and _has(layer, modules.experts.path):
            self.attach_experts(layer, modules.experts, site)
        if modules.batched_experts is not None and _has(layer, modules.batched_experts):
            shared = layer.get_submodule(modules.batched_experts)
            for weight in shared.gate_proj:
                self.on_input(shared, lambda x, *_, weight=weight: self.note(f"{site}.gate", linear(x, weight)))

    def attach_experts(self, layer: nn.Module, experts: Experts, site: str) -> None:
        module = layer.get_submodule(experts.path)
        if experts.layout == "llama4":
            router = layer.get_submodule(self.modules.router)
            self.on_input(router, lambda x: self.count(site, _chosen(router, x, router.top_k), router.num_experts))
            self.on_input(module, lambda x: self.llama4_gates(site, module, x))
        elif experts.layout == "jetmoe":
            router = module.router.layer
            self.on_input(
                module,
                lambda x: self.routed(site, module, experts.layout, x, _chosen(router, x, module.router.top_k)),
            )
        else:
            self.on_input(module, lambda x, chosen, *_: self.routed(site, module, experts.layout, x, chosen))

    def routed(self, site: str, module: nn.Module, layout: str, x: Tensor, chosen: Tensor) -> None:
        """The gates of every real token in the experts chosen for it, and the number of tokens per expert that has
        weights.
        """
        owner = module.router if layout == "jetmoe" else module
        # Longcat's experts behind the routed ones pass a token on as it is: they are chosen, and have no gate.
        gated = owner.num_routed_experts if hasattr(owner, "total_experts") else owner.num_experts
        self.count(site, chosen, gated)
        if layout == "ungated":
            return
        x, chosen = self.real(x), self.real(chosen)
        for expert in range(gated):
            tokens = x[(chosen == expert).any(dim=-1)]
            if len(tokens):
                self.maximum(f"{site}.gate", expert_gate(module, layout, expert, tokens))

    def llama4_gates(self, site: str, module: nn.Module, x: Tensor) -> None:
        """Every expert takes in every token, times a score that is zero where the expert was not chosen."""
        gate, _ = torch.bmm(x.view(module.num_experts, -1, module.hidden_size), module.gate_up_proj).chunk(2, dim=-1)
        self.maximum(f"{site}.gate", gate[:, self.mask.flatten()])

    def tap(self, name: str, root: nn.Module, tap: Tap) -> None:
        module = root.get_submodule(tap.path)

        def take(x: Tensor, *_: Any) -> None:
            if tap.ndim is None or x.ndim == tap.ndim:
                self.note(name, x.chunk(2, dim=-1)[0] if tap.half else x)

        if tap.side == "input":
            self.on_input(module, take)
        else:
            self.on_output(module, take)

    def on_output(self, module: nn.Module, take: Callable[[Tensor], None]) -> None:
        # The tensor is read at once: some layers add to it in place afterwards.
        self.handles.append(
            module.register_forward_hook(lambda _, __, out: take(out[0] if isinstance(out, tuple | list) else out))
        )

    def on_input(self, module: nn.Module, take: Callable[..., None]) -> None:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            take(*(args or (kwargs["hidden_states"],)))

        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def note(self, name: str, x: Tensor) -> None:
        self.maximum(name, self.real(x))

    def maximum(self, name: str, x: Tensor) -> None:
        value = float(x.abs().max())
        if name == "final_norm":
            # A norm that also ran before the layers: its last call is the one after them.
            self.reading.maxima.pop(name, None)
        self.reading.maxima[name] = max(value, self.reading.maxima.get(name, value))

    def count(self, site: str, chosen: Tensor, experts: int) -> None:
        counts = torch.bincount(self.real(chosen).flatten(), minlength=experts).tolist()[:experts]
        self.reading.tokens_per_expert[f"{site}.router"] = counts

    def real(self, x: Tensor) -> Tensor:
        """The rows of the real tokens, of a tensor over [batch, time] or over both flattened."""
        batch, time = self.mask.shape
        modules = self.modules
        if modules.time_first:
            x = x.transpose(0, 1)
        if modules.streams_first and x.ndim == 4:
            x = x.movedim(0, 2)
        if modules.prefix and x.shape[1] == modules.prefix + time:
            x = x[:, modules.prefix :]
        if modules.copies > 1 and x.shape[1] == modules.copies * time:
            x = x[:, :time]
        if x.shape[:2] == (batch, time):
            return x[self.mask]
        if x.shape[0] == batch * time:
            return x[self.mask.flatten()]
        raise ValueError(f"no [batch, time] in a tensor of shape {tuple(x.shape)}")


def router_logits(router: nn.Module, x: Tensor) -> Tensor:
    owner = getattr(router, "classifier", router)  # Longcat's router holds a linear layer and uses its weight only
    return linear(x, owner.weight, getattr(owner, "bias", None))


def expert_gate(experts: nn.Module, layout: str, expert: int, x: Tensor) -> Tensor:
    """What the fused experts' weights give for the gate of one expert, before clamping and activation."""
    if layout == "rows":
        return linear(x, experts.gate_up_proj[expert]).chunk(2, dim=-1)[0]
    if layout == "columns":
        return (x @ experts.gate_up_proj[expert]).chunk(2, dim=-1)[0]
    if layout == "interleaved":
        return (x @ experts.gate_up_proj[expert] + experts.gate_up_proj_bias[expert])[..., ::2]
    if layout == "dbrx":
        return linear(x, experts.mlp.w1.view(-1, experts.ffn_hidden_size, experts.hidden_size)[expert])
    if layout == "jetmoe":
        return linear(x, experts.input_linear.weight[expert]).chunk(2, dim=-1)[0]
    raise ValueError(f"no gate in layout {layout}")


def _chosen(router: nn.Module, x: Tensor, top_k: int) -> Tensor:
    return router_logits(router, x).topk(top_k, dim=-1).indices


def _has(root: nn.Module, path: str) -> bool:
    try:
        root.get_submodule(path)
    except AttributeError:
        return False
    return True
