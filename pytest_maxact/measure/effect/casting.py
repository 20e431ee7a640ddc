"""Tensors of a model with other contents for a while: those of a weight, or a cast of all of it.

Guard: afterwards everything is what it was, bit for bit, weights included that are fetched for every call.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def holding(tensors: Iterable[tuple[torch.Tensor, torch.Tensor]], aside: bool = False) -> Iterator[None]:
    """Tensors with other data for the duration of the context, bit for bit their own after it. `aside`: those wait in
    the host's memory.
    """
    own: list[tuple[torch.Tensor, torch.Tensor]] = []
    try:
        for tensor, data in tensors:
            own.append((tensor, tensor.data.cpu() if aside else tensor.data))
            tensor.data = data
        yield
    finally:
        for tensor, data in reversed(own):
            tensor.data = data.to(tensor.device)


@contextmanager
def casting(model: Any, form: str, part: Collection[torch.Tensor] | None = None, aside: bool = False) -> Iterator[None]:
    """A model, or only a part of it, cast to the format `form` for the duration of the context; as it is where that is
    "". `aside`: its own tensors wait in the host's memory. Those that are fetched for every call are cast then.
    """
    if not form:
        yield
        return
    dtype: torch.dtype = getattr(torch, form)
    changed = _changed(model, dtype, part)
    fetched = {id(tensor) for tensor in changed if tensor.is_meta}
    places = [
        (module, name, own.dtype)
        for module in model.modules()
        for name, own in module._parameters.items()
        if own is not None and id(own) in fetched
    ]
    with holding(((tensor, tensor.data.to(dtype)) for tensor in changed if not tensor.is_meta), aside):
        try:
            for module, name, _ in places:
                _announce(module, name, dtype)
            yield
        finally:
            for module, name, own in places:
                _announce(module, name, own)


def _announce(module: nn.Module, name: str, dtype: torch.dtype) -> None:
    """Have a parameter that is fetched for every call fetched in a dtype: that of what stands in its place."""
    empty = torch.empty_like(module._parameters[name], dtype=dtype, device="meta")  # type: ignore[arg-type]
    module._parameters[name] = nn.Parameter(empty, requires_grad=False)


def _changed(model: Any, dtype: torch.dtype, part: Collection[torch.Tensor] | None) -> list[torch.Tensor]:
    """The tensors, of the model or only of a part of it, that a cast changes.

    Those that a 16-bit model has in float32 stay, and so do those that transformers would keep in it.
    """
    halves = {torch.float16, torch.bfloat16} - {dtype}
    changed = halves | ({torch.float32} if model.dtype == torch.float32 else set())
    names = {
        *(model._keep_in_fp32_modules_strict or ()),
        *((dtype == torch.float16 and model._keep_in_fp32_modules) or ()),
    }
    stay = {
        id(tensor) for name, tensor in model.named_parameters() if any(f".{kept}." in f".{name}." for kept in names)
    }
    wanted = None if part is None else {id(tensor) for tensor in part}
    tensors = [tensor for tensor in model.parameters() if tensor.dtype in changed and id(tensor) not in stay]
    tensors += [tensor for tensor in model.buffers() if tensor.dtype in halves]
    return [tensor for tensor in tensors if wanted is None or id(tensor) in wanted]
