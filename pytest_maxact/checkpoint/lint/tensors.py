"""The tensors of one quantized module held against its form: what is missing, of another dtype or shape, and what of
its scales is no scale. A module in, findings out.
"""

from collections.abc import Iterator

import numpy as np

from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.forms import Matrix, Part
from pytest_maxact.checkpoint.lint.names import Module
from pytest_maxact.checkpoint.lint.values import FLOAT_DTYPES, Values
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LintFault

_WHAT = {
    "scale_missing": "no scale", "input_scale_missing": "no static scale of its inputs", "zero_point": "no zero points",
    "group_index": "no index of groups, and rows were reordered", "packing": "no shape of its matrix",
}  # fmt: skip
ZERO_BITS = {
    "fp8": 0x7F, "mxfp8": 0x7F, "int8": 0xFF, "bnb8": 0xFF, "nvfp4": 0x77, "mxfp4": 0x77, "mxfp4 blocks": 0x77,
}  # fmt: skip
"""Forms whose codes of zero are bytes of zero, but for signs: the bits that are not of signs."""


def part_faults(
    module: Module, part: Part, matrix: Matrix, form: str, values: Values, *, signed: bool = False
) -> Iterator[LintFault]:
    """What is wrong with one tensor of a module; `signed`: scales may be negative."""
    header = module.parts.get(part.name)
    weight = weight_of(module)
    if header is None:
        if part.code:
            yield fault(part.code, weight.key, f"{_WHAT[part.code]} ({part.name}) lies beside it")
        return
    if header.dtype not in part.dtypes:
        code = "scale_dtype" if part.scales else part.code or "group_index"
        yield fault(code, header.key, f"it is {header.dtype}, and {form} has {' or '.join(part.dtypes[:3])}")
    fits = not part.shapes or header.shape in part.shapes
    if not fits:
        code = "scale_shape" if part.scales else part.code or "group_index"
        wanted = " or ".join(by(shape) for shape in part.shapes[:2])
        size = by((*matrix.lead, matrix.rows, matrix.columns))
        yield fault(code, header.key, f"it is {by(header.shape)}, and weights of {size} call for {wanted}")
    if part.scales:
        yield from scale_faults(
            header, values, exponents=part.exponents, over=(module, matrix, form) if fits else None, signed=signed
        )


def scale_faults(
    header: Header, values: Values, *, exponents: bool = False, over: tuple[Module, Matrix, str] | None = None,
    maxima: bool = False, signed: bool = False,
) -> Iterator[LintFault]:  # fmt: skip
    """What of scales is no scale; `over`: the module whose weights they multiply, to tell zeros that cost nothing;
    `maxima`: they are those of blocks, so that one of zero is of a block of zeros.
    """
    if header.dtype not in FLOAT_DTYPES and not (exponents and header.dtype == "U8"):
        return
    flaws = values.flaws(header, exponents=exponents)
    if not flaws.size:
        yield fault("scale_shape", header.key, "it holds no entry")
        return
    of = f" of {counted(flaws.size, 'entry')}"
    if flaws.nonfinite:
        what = "255, which is NaN as an exponent" if exponents else "NaN or infinite"
        yield fault("scale_nonfinite", header.key, f"{flaws.nonfinite}{of} {_is(flaws.nonfinite)} {what}")
    if flaws.negative and not signed:
        yield fault("scale_negative", header.key, f"{flaws.negative}{of} {_is(flaws.negative)} negative")
    if flaws.zero:
        dead = maxima and flaws.zero < flaws.size
        lost = 0 if dead else flaws.zero if over is None else _lost(header, values, exponents, *over)
        if lost:
            yield fault("scale_zero", header.key, f"{lost}{of} {_is(lost)} zero, over weights that are not")
        else:
            yield fault("scale_unused", header.key, f"{flaws.zero}{of} {_is(flaws.zero)} zero, as are its weights")


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _lost(header: Header, values: Values, exponents: bool, module: Module, matrix: Matrix, form: str) -> int:
    """How many zero scales lie over weights whose codes are not all zero."""
    zeros = values.zeros(header, exponents=exponents)
    count = int(zeros.sum())
    dead = _zero_codes(module, matrix, form, values, zeros.shape)
    return count if dead is None else int(np.count_nonzero(zeros & ~dead))


def _zero_codes(
    module: Module, matrix: Matrix, form: str, values: Values, groups: tuple[int, ...]
) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None":
    """Which groups of codes are nothing but zeros, in the shape of their scales; None where that cannot be told."""
    weight = weight_of(module)
    if form not in ZERO_BITS:
        return None
    rows = int(np.prod((*matrix.lead, matrix.rows)))
    raw = (values.raw(weight) & np.uint8(ZERO_BITS[form])).reshape(rows, -1)
    across = groups[-1] if len(groups) > 1 else 1
    down = int(np.prod(groups)) // across
    if rows % down or raw.shape[1] % across:
        return None
    return np.asarray(~raw.reshape(down, rows // down, across, -1).any((1, 3))).reshape(groups)


def weight_of(module: Module) -> Header:
    """The tensor that a module is named by: its weights, packed or not."""
    for name in ("weight_packed", "qweight", "blocks", "weight", "compressed"):
        if name in module.parts:
            return module.parts[name]
    return next(iter(module.parts.values()))


def by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"
