"""A feed-forward block by its build, and its gate."""

from dataclasses import dataclass

from torch import nn

from pytest_maxact.checkpoint.sites.modules import (
    activation_of,
    at,
    class_of,
    has_matrix,
    is_convolution,
    is_linear,
    is_norm,
    linears_of,
    sizes,
    unknown,
)
from pytest_maxact.checkpoint.sites.table import Exceptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Where a gate projection is read, before its activation function."""

    module: nn.Module
    reads: str = "output"
    columns: slice | None = None


def build_of(module: nn.Module) -> str:
    """How a module's own projections make a feed-forward block.

    `plain`: up and down; `fused`: gate and up in one, and down; `separate`: gate, up and down; "" for none of these.
    """
    shapes = [sizes(linear) for _, linear in linears_of(module)]
    if len(shapes) == 2:
        for (up, width), (out, inner) in (shapes, shapes[::-1]):
            if width == out and up in (inner, 2 * inner):
                return "plain" if up == inner else "fused"
    if len(shapes) == 3 and any(shapes.count(shape) >= 2 and shape[::-1] in shapes for shape in shapes):
        return "separate"
    return ""


def is_feed_forward(module: nn.Module) -> bool:
    """Projections of that build, and no other child that holds matrices."""
    return bool(build_of(module)) and sum(has_matrix(child) for child in module.children()) == len(linears_of(module))


def is_stacked(module: nn.Module) -> bool:
    """Whether the module itself holds the matrices of several experts as one three-dimensional weight."""
    return not is_convolution(module) and any(p.ndim == 3 and p.shape[0] > 1 for p in module.parameters(recurse=False))


def experts_in(block: nn.Module) -> nn.Module | None:
    """The routed experts of a block; None for a dense one."""
    children = dict(block.named_children())
    named = children.get("experts")
    for child in ([named] if named is not None else []) + list(children.values()):
        if isinstance(child, nn.ModuleList) and len(child) > 1 and all(is_feed_forward(expert) for expert in child):
            return child
        if is_stacked(child):
            return child
    return named


def gate_of(mlp: nn.Module, exceptions: Exceptions) -> Gate | None:
    """The gate of a dense block, where a second projection multiplies it; None for a block without one.

    A projection that is called gate is read itself; else what the activation is given. Raises InputError for a gate
    that cannot be read, and for a block of which it cannot be told whether it has one.
    """
    linears = linears_of(mlp)
    if class_of(mlp) in exceptions.gates:
        path = exceptions.gates[class_of(mlp)]
        return _stated_gate(at(mlp, path), linears) if path else None
    build, activation = build_of(mlp), activation_of(mlp)
    if build == "separate" and (projection := _gate_projection(linears)) is not None:
        return Gate(module=projection)
    if build in ("separate", "fused"):
        if activation is None:
            raise unknown(
                f"{class_of(mlp)}: it has a gate, but neither one activation module nor one projection by that name"
            )
        return Gate(module=activation, reads="input")
    if (inside := _gate_inside(mlp)) is not None:
        return inside
    others = [child for child in mlp.children() if has_matrix(child) and not is_linear(child) and not is_norm(child)]
    if others or len(linears) > 2 or not (linears or is_linear(mlp)):
        raise unknown(f"{class_of(mlp)}: it cannot be told whether this feed-forward block has a gate")
    return None


def _gate_projection(linears: list[tuple[str, nn.Module]]) -> nn.Module | None:
    """The one projection that is called gate; of w1, w2 and w3, as LLaMA's first code had them, w1, if w2 leads
    down.
    """
    named = [linear for name, linear in linears if "gate" in name]
    if len(named) == 1:
        return named[0]
    by_name = dict(linears)
    if (
        set(by_name) == {"w1", "w2", "w3"}
        and sizes(by_name["w1"]) == sizes(by_name["w3"]) == sizes(by_name["w2"])[::-1]
    ):
        return by_name["w1"]
    return None


def _stated_gate(projection: nn.Module, linears: list[tuple[str, nn.Module]]) -> Gate:
    """A gate projection by name; one as wide as two inner widths holds the gate in its first half."""
    width = sizes(projection)[0]
    fused = any(2 * sizes(linear)[1] == width for _, linear in linears)
    return Gate(module=projection, columns=slice(0, width // 2) if fused else None)


def _gate_inside(mlp: nn.Module) -> Gate | None:
    """A gated projection as a module of its own: two equal projections and an activation."""
    for child in mlp.children():
        linears = linears_of(child)
        if (
            len(linears) == 2
            and sizes(linears[0][1]) == sizes(linears[1][1])
            and (activation := activation_of(child)) is not None
        ):
            return Gate(module=activation, reads="input")
    return None
