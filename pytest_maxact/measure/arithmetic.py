"""In which arithmetic a 16-bit model is computed: as its device does it, or, on a CPU without units for the format, in
float32 and rounded, product by product.

A GPU, or a CPU with such units, multiplies 16-bit numbers exactly and adds the products up in float32. A CPU without
them does the same, many times slower than it multiplies float32 matrices. There every product of more than a few rows
is computed by the float32 kernels, which see the same numbers, and its result rounded to the format once. All else
(norms, activations, sums of residuals) stays as it is. In goes a setting and a device; out comes a context in which the
model runs, and the name of what it did, which decides whether two Records may be compared.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from pytest_maxact.checkpoint.device import has_units
from pytest_maxact.errors import InputError, setting
from pytest_maxact.numbers.arithmetic import ACCUMULATED, NATIVE

_FORMATS = (torch.bfloat16, torch.float16)
_ROWS = 4
"""A product of fewer rows costs less as it is."""
_ENTRIES = 1 << 26
"""So many entries of a matrix at most, or else one row, are float32 at once."""

_PRODUCTS = frozenset({"matmul", "__matmul__", "mm", "bmm", "addmm", "baddbmm", "addbmm", "tensordot", "einsum"})
_WHOLE = frozenset(
    {f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)} | {"multi_head_attention_forward"}
)
_GROUPED = frozenset({"_grouped_mm", "grouped_mm", "grouped_mm_fallback"})
Way = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
"""A function and its arguments -> what it gives."""


def accumulated(choice: str, device: torch.device) -> frozenset[torch.dtype]:
    """The formats that are computed through float32: none, all, or, for the choice `auto`, those for which a CPU has no
    units.

    Raises InputError where it was asked for on another device, which does so by itself.
    """
    if device.type != "cpu":
        if choice == ACCUMULATED:
            raise InputError(
                f"{setting('arithmetic')} {ACCUMULATED}: {device} accumulates in float32 by itself\n"
                f"  leave it out, or choose {setting('device')} cpu"
            )
        return frozenset()
    if choice == "auto":
        return frozenset(form for form in _FORMATS if not has_units(form))
    return frozenset(_FORMATS if choice == ACCUMULATED else ())


def arithmetic_of(choice: str, device: torch.device, dtype: str) -> str:
    """What a model of `dtype` is computed in there, as a Record states it."""
    return ACCUMULATED if getattr(torch, dtype) in accumulated(choice, device) else NATIVE


def computing(choice: str, device: torch.device, *dtypes: str) -> AbstractContextManager[Any]:
    """The context in which a model that computes in these dtypes is run on a device, around all that watches it."""
    formats = accumulated(choice, device) & {getattr(torch, dtype) for dtype in dtypes}
    return Accumulating(formats) if formats else nullcontext()


class Accumulating(TorchFunctionMode):
    """While active, products of tensors in one of `formats` are computed in `wide` and rounded back; those whose
    factors are of several formats, or that write into a tensor of the caller's, stay as they are.
    """

    def __init__(self, formats: frozenset[torch.dtype], wide: torch.dtype = torch.float32) -> None:
        super().__init__()
        self._formats = formats
        self._wide = wide
        self._ways: dict[str, Way] = {
            "linear": self._linear,
            "scaled_dot_product_attention": self._attention,
            **dict.fromkeys(_PRODUCTS, self._product),
            **dict.fromkeys(_GROUPED, self._grouped),
            **dict.fromkeys(_WHOLE, self._whole),
        }

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        way = self._ways.get(getattr(func, "__name__", ""))
        if way is None:
            return func(*args, **kwargs)
        given = [value for value in _flat((*args, *kwargs.values())) if value.is_floating_point()]
        form = given[0].dtype if given else None
        plain = "out" not in kwargs and kwargs.get("out_dtype") is None
        if form not in self._formats or not plain or any(value.dtype != form for value in given):
            return func(*args, **kwargs)
        return way(func, args, kwargs)

    def _linear(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Rows [..., in] with a weight [out, in], of which so many rows at a time are wide."""
        x, weight, bias = _named(("input", "weight", "bias"), args, kwargs)
        if weight.ndim != 2 or x.numel() < _ROWS * x.shape[-1]:
            return func(*args, **kwargs)
        wide = x.to(self._wide)
        if weight.numel() <= _ENTRIES:
            return func(wide, self._widened(weight), self._widened(bias)).to(x.dtype)
        result = x.new_empty((*x.shape[:-1], weight.shape[0]))
        step = max(1, _ENTRIES // weight.shape[1])
        for start in range(0, weight.shape[0], step):
            part = slice(start, start + step)
            added = None if bias is None else self._widened(bias[part])
            result[..., part] = func(wide, self._widened(weight[part]), added)
        return result

    def _product(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Any other product of matrices, whole; a batch of large ones one by one."""
        factors = _flat((*args, *kwargs.values()))
        one, other = factors[-2:] if len(factors) > 1 else (factors[0], factors[0])
        if len(factors) < 2 or min(one.ndim, other.ndim) < 2 or min(one.shape[-2], other.shape[-1]) < _ROWS:
            return func(*args, **kwargs)
        if func.__name__ == "bmm" and max(one.numel(), other.numel()) > _ENTRIES:
            pairs = zip(one, other, strict=True)
            return torch.stack([self._narrowed(self._widened(a) @ self._widened(b), a.dtype) for a, b in pairs])
        return self._whole(func, args, kwargs)

    def _whole(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        form = _flat((*args, *kwargs.values()))[0].dtype
        return self._narrowed(func(*self._widened(args), **self._widened(kwargs)), form)

    def _grouped(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Rows [tokens, in] that belong to experts in turn, with their matrices [experts, in, out], one of which at a
        time is wide.
        """
        x, stack, offsets, bias = _named(("input", "mat2", "offs", "bias"), args, kwargs)
        if x is None or stack is None or x.ndim != 2 or stack.ndim != 3 or offsets is None or bias is not None:
            return func(*args, **kwargs)
        result, start = x.new_zeros((x.shape[0], stack.shape[-1])), 0
        for expert, end in enumerate(offsets.tolist()):
            if end > start:
                few = end - start < _ROWS
                rows, matrix = x[start:end], stack[expert]
                result[start:end] = rows @ matrix if few else self._widened(rows) @ self._widened(matrix)
            start = end
        return result

    def _attention(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The kernel for bfloat16 goes through float32 itself, in blocks; that for float16 gains."""
        half = _flat((*args, *kwargs.values()))[0].dtype == torch.float16
        return self._whole(func, args, kwargs) if half else func(*args, **kwargs)

    def _widened(self, value: Any) -> Any:
        """The same, with every tensor of a narrow format in the wide one."""
        if isinstance(value, torch.Tensor):
            return value.to(self._wide) if value.dtype in self._formats else value
        if isinstance(value, dict):
            return {name: self._widened(member) for name, member in value.items()}
        return type(value)(map(self._widened, value)) if isinstance(value, (tuple, list)) else value

    def _narrowed(self, value: Any, form: torch.dtype) -> Any:
        """What a function gave, tensors of the wide format rounded."""
        if isinstance(value, tuple):
            return tuple(self._narrowed(member, form) for member in value)
        return value.to(form) if isinstance(value, torch.Tensor) and value.dtype == self._wide else value


def _named(names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Arguments by their places or names, None where they are not given."""
    return [args[i] if i < len(args) else kwargs.get(name) for i, name in enumerate(names)]


def _flat(values: tuple[Any, ...] | list[Any]) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += _flat(value)
    return found
