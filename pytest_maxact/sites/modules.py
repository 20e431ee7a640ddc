"""Small questions about modules that every part of resolution asks: what they are called, what they hold, what transformers declares of them."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from pytest_maxact.errors import InputError


def class_of(module: nn.Module) -> str:
    return type(module).__name__


def unknown(what: str) -> InputError:
    return InputError(f"{what}\n  this architecture cannot be measured yet; please report its model_type")


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
    """A linear projection and nothing else, of whatever class: one two-dimensional `weight`, no children that hold matrices."""
    own = getattr(module, "weight", None)
    return (
        isinstance(own, nn.Parameter) and own.ndim == 2 and not isinstance(module, nn.Embedding) and next(module.children(), None) is None
    )


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


def words(name: str) -> set[str]:
    """The lower-case words of an identifier, `snake_case` or `CamelCase`."""
    spaced = "".join(f" {c.lower()}" if c.isupper() and i and not name[i - 1].isupper() else c.lower() for i, c in enumerate(name))
    return set(spaced.replace("_", " ").replace(".", " ").split())


def declares(decoder: nn.Module, key: str, module: nn.Module, path: str) -> bool:
    """Whether transformers names the module's class under `key` in the decoder's `_can_record_outputs`, for modules at such a path."""
    for entry in _entries(decoder, key):
        target = getattr(entry, "target_class", entry)
        name = getattr(entry, "class_name", None)
        where = getattr(entry, "layer_name", None)
        if where and where not in f".{path}.":
            continue
        if isinstance(target, type) and isinstance(module, target):
            return True
        if (isinstance(target, str) and class_of(module) == target) or (name and class_of(module) == name):
            return True
    return False


def _entries(decoder: nn.Module, key: str) -> Iterator[Any]:
    declared = (getattr(decoder, "_can_record_outputs", None) or {}).get(key)
    yield from () if declared is None else declared if isinstance(declared, list) else [declared]
