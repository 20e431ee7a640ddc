"""The forms in which quantized modules lie in files: the tensors of a module in, its form, the size of its matrix, and
what tensors of which dtypes and shapes belong to it out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pytest_maxact.checkpoint.headers import FLOATS, Header
from pytest_maxact.checkpoint.lint.names import Module
from pytest_maxact.checkpoint.lint.stated import Spec

Shape = tuple[int, ...]
_WIDE = ("BF16", "F16", "F32", "F64")
_EXPONENTS = ("U8", "F8_E8M0")
_FP8 = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
_MX = (1, 32)
"""Blocks of MXFP8, whose scales may lie as exponents in bytes."""
_SCALAR: tuple[Shape, ...] = ((), (1,), (1, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A tensor that belongs to a module: its dtypes, and its shapes, none where any will do; `code` of the finding
    where it is missing, "" where it may be; `scales`: its entries are scales, `exponents`: as powers of two.
    """

    name: str
    dtypes: tuple[str, ...]
    shapes: tuple[Shape, ...] = ()
    code: str = "scale_missing"
    scales: bool = True
    exponents: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A quantized matrix, or a stack of them: `lead` how many, then outputs and inputs."""

    lead: Shape
    rows: int
    columns: int


def form_of(module: Module, said: tuple[str, ...] = ()) -> str:
    """The form in which a module lies; "" for one in 16 bits, "other" for low bits in a form that is not known here.
    `said`: the forms that the config names, by which equal ones are told apart.
    """
    parts = module.parts
    if "blocks" in parts:
        return "mxfp4 blocks"
    if "compressed" in parts or "bitmask" in parts:
        return "sparse"
    if qweight := parts.get("qweight"):
        return _of_qweight(qweight, parts.get("scales"), said)
    if packed := parts.get("weight_packed"):
        return _of_packed(packed, parts)
    weight = parts.get("weight")
    if weight is not None and any(part.startswith("weight.quant_state") for part in parts):
        return "bnb4"
    if weight is None or weight.dtype in FLOATS:
        return ""
    if weight.dtype in ("I8", "U8") and ("SCB" in parts or "weight_format" in parts):
        return "bnb8"
    if any(part.startswith("weight.") for part in parts):
        return "bnb4"
    if weight.dtype == "I8":
        return "bnb8" if said == ("bnb8",) else "int8"
    if weight.dtype in _FP8:
        scale = parts.get("weight_scale")
        return "mxfp8" if scale is not None and scale.dtype in _EXPONENTS else "fp8"
    if weight.dtype == "U8":
        scale = parts.get("weight_scale")
        named = next((form for form in ("bnb4", "mxfp4", "nvfp4") if form in said), "")
        return named or ("nvfp4" if scale is not None and scale.dtype == "F8_E4M3" else "other")
    return "other"


def _of_qweight(qweight: Header, scales: Header | None, said: tuple[str, ...]) -> str:
    if scales is not None and len(scales.shape) == len(qweight.shape) == 2:
        if scales.shape[1] == qweight.shape[1]:
            return "gptq"
        if scales.shape[1] > qweight.shape[1]:
            return "awq"
    return said[0] if len(said) == 1 and said[0] in ("gptq", "awq") else "gptq"


def _of_packed(packed: Header, parts: Mapping[str, Header]) -> str:
    if packed.dtype != "U8":
        return "packed int"
    scale = parts.get("weight_scale")
    if "weight_global_scale" in parts or (scale is not None and scale.dtype == "F8_E4M3"):
        return "nvfp4"
    return "mxfp4"


def matrix_of(module: Module, form: str, bits: int) -> Matrix | None:
    """The size of its matrix; None where the packed tensor does not tell."""
    parts = module.parts
    held = parts.get({"mxfp4 blocks": "blocks", "gptq": "qweight", "awq": "qweight"}.get(form, "weight_packed"))
    held = held or parts.get("weight")
    if held is None or len(held.shape) < 2:
        return None
    lead, (tall, wide) = held.shape[:-2], held.shape[-2:]
    if form == "mxfp4 blocks":
        return (
            Matrix(lead=held.shape[:-3], rows=held.shape[-3], columns=tall * wide * 2) if len(held.shape) > 3 else None
        )
    if form == "gptq":
        return Matrix(lead=lead, rows=wide, columns=tall * 32 // bits)
    if form == "awq":
        return Matrix(lead=lead, rows=wide * 32 // bits, columns=tall)
    factor = {"packed int": 32 / bits, "nvfp4": 2, "mxfp4": 2, "mxfp6": 4 / 3}.get(form, 1)
    return Matrix(lead=lead, rows=tall, columns=int(wide * factor))


def scale_shapes(matrix: Matrix, spec: Spec) -> tuple[Shape, ...]:
    """Shapes that scales of weights may have; none where nothing is said of them."""
    lead, rows, columns = matrix.lead, matrix.rows, matrix.columns
    if spec.strategy == "tensor":
        stacked = tuple((*lead, *own) for own in _SCALAR)
        return (*stacked, (2,), (3,)) if not lead else (*stacked, (*lead, 2))
    if spec.strategy == "channel":
        return ((*lead, rows, 1), (*lead, rows))
    if spec.strategy == "group" and spec.group:
        return ((*lead, rows, -(-columns // spec.group)),)
    if spec.strategy == "block" and all(spec.block):
        down, across = -(-rows // spec.block[0]), -(-columns // spec.block[1])
        of_modelopt = ((down, 1, across, 1), *([()] if down == across == 1 else []))
        return ((*lead, down, across), *(() if lead else of_modelopt))
    return ()


def parts_of(form: str, matrix: Matrix, spec: Spec, held: Mapping[str, Header]) -> tuple[Part, ...]:
    """What belongs to a module in a form, beside its weights."""
    own = _PARTS.get(form)
    return own(matrix, spec, held) if own else ()


def _inputs(matrix: Matrix, spec: Spec, name: str = "input_scale") -> Part:
    shapes = tuple((*matrix.lead, *own) for own in _SCALAR)
    return Part(
        name=name, dtypes=_WIDE, shapes=(*_SCALAR, *shapes), code="input_scale_missing" if spec.static_inputs else ""
    )


def _plain(matrix: Matrix, spec: Spec, held: Mapping[str, Header]) -> tuple[Part, ...]:
    inverse = "weight_scale_inv" in held or (spec.strategy == "block" and "weight_scale" not in held)
    name = "weight_scale_inv" if inverse else "weight_scale"
    dtypes = (*_WIDE, "F8_E8M0") if inverse else _WIDE
    exponents = spec.block == _MX and name in held and held[name].dtype == "U8"
    activation = "activation_scale" if "activation_scale" in held else "input_scale"
    return (
        Part(
            name=name, dtypes=("U8",) if exponents else dtypes, shapes=scale_shapes(matrix, spec), exponents=exponents
        ),
        _inputs(matrix, spec, activation),
    )


def _packed_int(matrix: Matrix, spec: Spec, held: Mapping[str, Header]) -> tuple[Part, ...]:
    return (
        Part(name="weight_scale", dtypes=_WIDE, shapes=scale_shapes(matrix, spec)),
        Part(
            name="weight_shape", dtypes=("I64", "I32"), shapes=((len(matrix.lead) + 2,),), code="packing", scales=False
        ),
        _inputs(matrix, spec),
        Part(
            name="weight_g_idx", dtypes=("I32", "I64"), shapes=((*matrix.lead, matrix.columns),), scales=False,
            code="group_index" if spec.reordered and spec.group else "",
        ),
    )  # fmt: skip


def _nvfp4(matrix: Matrix, spec: Spec, held: Mapping[str, Header]) -> tuple[Part, ...]:
    packed = "weight_packed" in held
    lead = matrix.lead
    whole = tuple((*lead, *own) for own in _SCALAR) + (((*lead, 2),) if lead else ())
    return (
        Part(name="weight_scale", dtypes=("F8_E4M3",), shapes=((*lead, matrix.rows, -(-matrix.columns // 16)),)),
        Part(name="weight_global_scale" if packed else "weight_scale_2", dtypes=("F32", "BF16", "F16"), shapes=whole),
        _inputs(matrix, spec, "input_global_scale" if packed else "input_scale"),
    )


def _mx(matrix: Matrix, spec: Spec, held: Mapping[str, Header]) -> tuple[Part, ...]:
    shapes = ((*matrix.lead, matrix.rows, -(-matrix.columns // 32)),)
    return (Part(name="weight_scale", dtypes=_EXPONENTS, shapes=shapes, exponents=True),)


def _blocks(matrix: Matrix, spec: Spec, held: Mapping[str, Header]) -> tuple[Part, ...]:
    shapes = ((*matrix.lead, matrix.rows, matrix.columns // 32),)
    return (Part(name="scales", dtypes=_EXPONENTS, shapes=shapes, exponents=True),)


def _gptq(matrix: Matrix, spec: Spec, held: Mapping[str, Header]) -> tuple[Part, ...]:
    groups = -(-matrix.columns // spec.group) if spec.group else 1
    zeros = (groups, -(-matrix.rows * spec.bits // 32))
    return (
        Part(name="scales", dtypes=_WIDE, shapes=((groups, matrix.rows),)),
        Part(name="qzeros", dtypes=("I32", "U32"), shapes=(zeros,), code="zero_point", scales=False),
        Part(
            name="g_idx", dtypes=("I32", "I64"), shapes=((matrix.columns,),), scales=False,
            code="group_index" if spec.reordered and spec.group else "",
        ),
    )  # fmt: skip


def _awq(matrix: Matrix, spec: Spec, held: Mapping[str, Header]) -> tuple[Part, ...]:
    return _gptq(matrix, spec, held)[: 1 if spec.symmetric else 2]


def _bnb8(matrix: Matrix, spec: Spec, held: Mapping[str, Header]) -> tuple[Part, ...]:
    return (Part(name="SCB", dtypes=("F32", "F16", "BF16"), shapes=((matrix.rows,), (matrix.rows, 1))),)


_PARTS: Mapping[str, Callable[[Matrix, Spec, Mapping[str, Header]], tuple[Part, ...]]] = {
    "fp8": _plain, "int8": _plain, "packed int": _packed_int, "nvfp4": _nvfp4, "mxfp4": _mx, "mxfp8": _mx, "mxfp6": _mx,
    "mxfp4 blocks": _blocks, "gptq": _gptq, "awq": _awq, "bnb8": _bnb8,
}  # fmt: skip
