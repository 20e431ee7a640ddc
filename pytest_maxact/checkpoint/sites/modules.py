"""Small questions about modules that every part of resolution asks: what they are called, what they hold."""

import re

from torch import nn

from pytest_maxact.errors import InputError


def class_of(module: nn.Module) -> str:
    return type(module).__name__


def unknown(what: str, mend: str = "") -> InputError:
    """The error for a build that is not known; `mend` tells contributors where to state it."""
    hint = f"; contributors: {mend}" if mend else ""
    return InputError(f"{what}\n  this architecture cannot be measured yet; please report its model_type{hint}")


def at(root: nn.Module, path: str) -> nn.Module:
    """The module at a path. Raises InputError that names it where there is none."""
    try:
        found: nn.Module = root.get_submodule(path)
    except AttributeError:
        raise unknown(f"{class_of(root)}: no module {path!r}, where this build of layers has one") from None
    return found


def has(root: nn.Module, path: str) -> bool:
    """Whether there is a module at a path."""
    return path in {name for name, _ in root.named_modules()}


def has_matrix(module: nn.Module) -> bool:
    """Whether the module or anything below it holds a matrix (vectors that broadcast over batch and time are none)."""
    return any(sum(size > 1 for size in parameter.shape) >= 2 for parameter in module.parameters())


def is_linear(module: nn.Module) -> bool:
    """A linear projection and nothing else, of whatever class: one two-dimensional `weight`, no children that hold
    matrices.
    """
    own = getattr(module, "weight", None)
    if not isinstance(own, nn.Parameter) or own.ndim != 2 or isinstance(module, nn.Embedding):
        return False
    return not any(has_matrix(child) for child in module.children())


def is_convolution(module: nn.Module) -> bool:
    return type(module).__module__ == "torch.nn.modules.conv"


def is_norm(module: nn.Module) -> bool:
    """A normalisation, by its class: structure does not tell one that has no weight from any other function."""
    name = class_of(module).lower()
    return name.endswith("norm") or "layernorm" in name or "rmsnorm" in name


def is_activation(module: nn.Module) -> bool:
    origin = type(module).__module__
    return (
        origin == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention)
    ) or origin == "transformers.activations"


def activation_of(module: nn.Module) -> nn.Module | None:
    """The one activation function among a module's children; `score_fn` of a router is none."""
    found = [child for child in module.children() if is_activation(child)]
    return found[0] if len(found) == 1 else None


def linears_of(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_children() if is_linear(child)]


def sizes(linear: nn.Module) -> tuple[int, int]:
    """Output and input width of a linear projection; transformers' Conv1D keeps its weight the other way round."""
    weight = linear.weight
    assert isinstance(weight, nn.Parameter)
    rows, columns = weight.shape
    return (columns, rows) if class_of(linear) == "Conv1D" else (rows, columns)


_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+|\d+")


def words(name: str) -> set[str]:
    """The lower-case words of an identifier, `snake_case` or `CamelCase`."""
    return {word.lower() for word in _WORD.findall(name)}
