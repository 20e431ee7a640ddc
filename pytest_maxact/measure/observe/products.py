"""What a module computes with one of its parameters, caught where it happens: the product of an activation with a
matrix.

A router returns logits, probabilities, scores or indices as its author liked; what all routers have is a matrix that a
token is multiplied with.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_MULTIPLIES = {
    "linear",
    "matmul",
    "mm",
    "bmm",
    "addmm",
    "baddbmm",
    "einsum",
    "__matmul__",
    "__rmatmul__",
    "grouped_mm",
    "_grouped_mm",
    "grouped_mm_fallback",
}


class Products(TorchFunctionMode):
    """Collects, while active, the results in `found` of every matrix product with `parameter` or with a cast, view or
    transpose of it, and in `factors` what it was multiplied with. `replace`, where given, is asked for another factor
    first.
    """

    def __init__(
        self,
        parameter: torch.Tensor,
        replace: Callable[[torch.Tensor], torch.Tensor] | None = None,
        held: Callable[[], torch.Tensor | None] = lambda: None,
    ) -> None:
        """`held`: the parameter as its module holds it now, where that is another: one that is fetched for the call."""
        super().__init__()
        self._held = held
        self.found: list[torch.Tensor] = []
        self.factors: list[torch.Tensor] = []
        self._replace = replace
        self._matrices: dict[int, torch.Tensor] = {id(parameter): parameter}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if (held := self._held()) is not None and id(held) not in self._matrices:
            self._matrices[id(held)] = held
        multiplies = any(id(value) in self._matrices for value in tensors_in((args, kwargs)))
        if multiplies and func.__name__ in _MULTIPLIES:
            place = next(i for i, value in enumerate(args) if self._is_factor(value))
            if self._replace is not None:
                args = (*args[:place], self._replace(args[place]), *args[place + 1 :])
            self.factors.append(args[place])
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and multiplies:
            if func.__name__ in _MULTIPLIES:
                self.found.append(result)
            else:
                self._matrices[id(result)] = result
        return result

    def _is_factor(self, value: Any) -> bool:
        return (
            isinstance(value, torch.Tensor)
            and value.is_floating_point()
            and value.ndim >= 2
            and id(value) not in self._matrices
        )


def holder_of(module: nn.Module, parameter: torch.Tensor) -> Callable[[], torch.Tensor | None]:
    """What a module, or one in it, holds in the place of a parameter whenever it is asked; None where it has none.

    One that is fetched for every call is another after each: it is known by its shape then, where no other has that.
    """
    held = dict(module.named_parameters(remove_duplicate=False))
    names = [name for name, own in held.items() if own is parameter]
    names = names or [name for name, own in held.items() if own.is_meta and own.shape == parameter.shape]
    if len(names) != 1:
        return lambda: None
    (name,) = names
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    return lambda: owner._parameters.get(leaf)


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested mappings, tuples and lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from tensors_in(member)
    elif isinstance(value, (tuple, list)):
        for member in value:
            yield from tensors_in(member)
