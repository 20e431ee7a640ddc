"""The schemes by the names that vLLM and compressed-tensors use, and how each quantizes activations and weights.

Source: the presets of compressed-tensors 0.20 (`quantization/quant_scheme.py`). `W8A8_STATIC` has no preset: it is the
per-tensor INT-8 of arXiv 2605.15572, levels -127..127. FP16 and BF16 are formats with a range, to which every tensor of
a model is cast. Those of the KV cache (`caches`) quantize keys and values alone; `W8A8+KV_FP8` is two at once.
"""

import difflib
from dataclasses import dataclass, replace

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.caches import CACHES, DEFAULT_CACHES, Cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizer:
    """How one operand of a linear layer is quantized.

    - `number`: what an entry becomes: `int4`, `int8`, `fp4_e2m1`, `fp8_e4m3`.
    - `granularity`: what shares a scale, for x [rows, width]: the whole `tensor`, a `row` (a token of activations, an
      output channel of weights), a `group` of so many neighbours in a row, a `block` of so many rows and columns.
    - `static`: its scale comes from calibration; otherwise from the tensor itself.
    - `scale`: the format of a scale where it is not the tensor's own: `e8m0`, a power of two, or `e4m3` beside one
      scale for the whole tensor.
    """

    number: str
    granularity: str
    group: int = 0
    static: bool = False
    scale: str = ""

    @property
    def is_integer(self) -> bool:
        return self.number.startswith("int")

    @property
    def bits(self) -> int:
        return int(self.number.removeprefix("int")) if self.is_integer else 4 if self.number == "fp4_e2m1" else 8

    @property
    def needs_calibration(self) -> bool:
        """Whether the calibration maximum enters: as the scale, or as the one scale above those of the groups."""
        return self.static or self.scale == "e4m3"

    def refuses(self, width: int) -> str:
        """Why a tensor of rows this wide cannot be quantized so; "" where it can."""
        if self.granularity == "group" and width % self.group:
            return f"{width} is no multiple of its groups of {self.group}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A deployment scheme; None for an operand that stays in 16 bits, or a cache that does. `cast`: a format to which
    every tensor is cast instead. `parts`: the names of those that it is made of.
    """

    name: str
    activations: Quantizer | None = None
    weights: Quantizer | None = None
    cast: str = ""
    cache: Cache | None = None
    parts: tuple[str, ...] = ()

    @property
    def needs_calibration(self) -> bool:
        """Whether a calibration maximum enters its activations, or its cache."""
        operands = (self.activations, self.cache)
        return any(operand is not None and operand.needs_calibration for operand in operands)

    @property
    def is_of_linears(self) -> bool:
        """Whether it does anything to linear layers, or to all tensors."""
        return bool(self.activations or self.weights or self.cast)

    @property
    def in_words(self) -> str:
        if self.cast:
            return f"every tensor in {self.cast}"
        if self.cache:
            return f"keys and values {self.cache.in_words}"
        return f"activations {_words(self.activations, 'token')}, weights {_words(self.weights, 'channel')}"


def _words(how: Quantizer | None, row: str) -> str:
    if how is None:
        return "in 16 bits"
    shared = {
        "tensor": "per tensor",
        "row": f"per {row}",
        "group": f"per group of {how.group}",
        "block": f"per block of {how.group}",
    }
    return f"{how.number} {shared[how.granularity]}{', static' if how.static else ''}"


_INT8_ROW, _FP8_ROW = Quantizer(number="int8", granularity="row"), Quantizer(number="fp8_e4m3", granularity="row")
_INT4_GROUP = Quantizer(number="int4", granularity="group", group=128)
_INT8_GROUP = Quantizer(number="int8", granularity="group", group=128)
_INT8_TENSOR = Quantizer(number="int8", granularity="tensor", static=True)
_FP8_STATIC, _FP8_TENSOR = (
    Quantizer(number="fp8_e4m3", granularity="tensor", static=static) for static in (True, False)
)
_FP8_GROUP, _FP8_BLOCK = (Quantizer(number="fp8_e4m3", granularity=shared, group=128) for shared in ("group", "block"))
_MXFP8, _MXFP4 = (
    Quantizer(number=number, granularity="group", group=32, scale="e8m0") for number in ("fp8_e4m3", "fp4_e2m1")
)
_NVFP4 = Quantizer(number="fp4_e2m1", granularity="group", group=16, scale="e4m3")

PLUS = "+"


class _Schemes(dict[str, Scheme]):
    """Those that have a name of their own; and, by a name made of theirs, one of linear layers and one of the cache."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and self._joined(name) is not None)

    def __missing__(self, name: str) -> Scheme:
        if (found := self._joined(name)) is None:
            raise KeyError(name)
        return found

    def _joined(self, name: str) -> Scheme | None:
        first, _, second = name.partition(PLUS)
        linear, cached = self.get(first), self.get(second)
        if linear is None or cached is None or linear.cache or linear.cast or not cached.cache:
            return None
        return replace(linear, name=name, cache=cached.cache, parts=(linear.name, cached.name))


SCHEMES = _Schemes(
    (scheme.name, replace(scheme, parts=(scheme.name,)))
    for scheme in (
        Scheme(name="W8A8", activations=_INT8_ROW, weights=_INT8_ROW),
        Scheme(name="W8A8_STATIC", activations=_INT8_TENSOR, weights=_INT8_ROW),
        Scheme(name="FP8", activations=_FP8_STATIC, weights=_FP8_TENSOR),
        Scheme(name="FP8_DYNAMIC", activations=_FP8_ROW, weights=_FP8_ROW),
        Scheme(name="FP8_BLOCK", activations=_FP8_GROUP, weights=_FP8_BLOCK),
        Scheme(name="MXFP8", activations=_MXFP8, weights=_MXFP8),
        Scheme(name="MXFP4", activations=_MXFP4, weights=_MXFP4),
        Scheme(name="NVFP4", activations=_NVFP4, weights=_NVFP4),
        Scheme(name="W4A8", activations=_INT8_ROW, weights=_INT4_GROUP),
        Scheme(name="W4AFP8", activations=_FP8_ROW, weights=_INT4_GROUP),
        Scheme(name="W4A16", weights=_INT4_GROUP),
        Scheme(name="W8A16", weights=_INT8_GROUP),
        Scheme(name="MXFP8A16", weights=_MXFP8),
        Scheme(name="MXFP4A16", weights=_MXFP4),
        Scheme(name="NVFP4A16", weights=_NVFP4),
        Scheme(name="FP16", cast="float16"),
        Scheme(name="BF16", cast="bfloat16"),
        *(Scheme(name=name, cache=cache) for name, cache in CACHES.items()),
    )
)
ALIASES = {"INT8": "W8A8", "KV_FP8_E4M3": "KV_FP8", "KV_KIVI": "KV_INT4"}
DEFAULT_SCHEMES = ("W8A8", "W8A8_STATIC", "FP8", "FP8_DYNAMIC", "NVFP4", "FP16")
"""What is reported of the linear inputs where no scheme was asked for."""


def usual_schemes(sites: str) -> tuple[str, ...]:
    """What is reported of the sites that were asked for: the inputs of linear layers, keys and values, or both."""
    return (
        *(DEFAULT_SCHEMES if sites in ("deploy", "all") else ()),
        *(DEFAULT_CACHES if sites in ("attention", "all") else ()),
    )


def scheme_called(name: str) -> Scheme:
    """A scheme by its name, whatever its case, or two by `W8A8+KV_FP8`. Raises InputError that names the nearest."""
    wanted = PLUS.join(ALIASES.get(part.strip(), part.strip()) for part in name.upper().split(PLUS))
    if wanted in SCHEMES:
        return SCHEMES[wanted]
    close = difflib.get_close_matches(wanted, SCHEMES, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"no scheme called {name!r}\n  {hint}there are {', '.join(SCHEMES)}")
