"""How a KV cache is kept in low bits, by the names of vLLM (`--kv-cache-dtype`), and what each does to keys and values.

Source: `CacheDType` of vLLM (`vllm/config/cache.py`) and its page "Quantized KV Cache": FP8 by tensor or by head, with
scales of 1.0 or calibrated ones, INT8 and FP8 by token and head; INT4 by token and head as its kernels do it
(`vllm/v1/attention/ops/triton_quant_kv`); NVFP4 as its store kernel does
(`csrc/libtorch_stable/nvfp4_kv_cache_kernels.cu`). `KV_INT8` is the static form of compressed-tensors,
`KV_INT4` that of KIVI (Liu et al., ICML 2024): keys by channel, values by token.
"""

from collections.abc import Iterable
from dataclasses import dataclass

ONE, CALIBRATION, EXACT = "one", "calibration", "exact"
"""Where a static scale comes from: 1.0, the calibration split, all of the text."""
_TOPS = {"fp8_e4m3": 448.0, "fp8_e5m2": 57344.0, "fp4_e2m1": 6.0 * 448.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """How keys and values are kept.

    - `number`: what an entry becomes: `fp8_e4m3`, `fp8_e5m2`, `int8`, `int4`, `fp4_e2m1`.
    - `shared`: what shares a scale, for keys [tokens, heads, width]: the whole `tensor`, a `head`, a `token` of one
      head, or a `channel`: of keys so many tokens (`group`) of one channel, of values so many channels of one token,
      each with a zero point; of keys the last tokens that make no group stay in 16 bits. `rotated`: a token of one
      head, whose channels are mixed by a Hadamard matrix with random signs before, with a zero point. `group`: so many
      channels of one token and head, by a scale in E4M3 below the static one of the tensor.
    - `peaks`: of a `group`, what its largest entry may become; of several the one that errs least.
    - `scale`: where a static scale comes from; "" where it is that of the entries themselves.
    - `dtype`: what `--kv-cache-dtype` of vLLM calls it, "" where vLLM has none.
    """

    number: str
    shared: str
    scale: str = ""
    group: int = 0
    peaks: tuple[float, ...] = ()
    dtype: str = ""

    @property
    def needs_calibration(self) -> bool:
        """Whether a calibration maximum enters while a pass runs; what one scale does follows from histograms later."""
        return self.scale == CALIBRATION and self.shared != "tensor"

    @property
    def is_integer(self) -> bool:
        return self.number.startswith("int")

    @property
    def bits(self) -> int:
        return int(self.number.removeprefix("int")) if self.is_integer else 4 if self.number == "fp4_e2m1" else 8

    @property
    def top(self) -> float:
        """What a static scale takes the largest magnitude to: the largest level, of a `group` times its own scale."""
        return _TOPS.get(self.number) or float((1 << (self.bits - 1)) - 1)

    def refuses(self, width: int, latent: bool = False) -> str:
        """Why heads of so many channels, or a `latent` state of as many, cannot be kept so; "" where they can."""
        if latent and self.shared == "group":
            return f"a state of latent attention, which vLLM keeps in no {self.dtype}"
        if self.shared == "rotated" and width & (width - 1):
            return f"heads of {width} channels, which a Hadamard matrix cannot rotate: it takes a power of two"
        if self.shared == "group" and width % self.group:
            return f"heads of {width} channels, no multiple of its groups of {self.group}"
        return ""

    @property
    def in_words(self) -> str:
        shared = {
            "tensor": "per tensor",
            "head": "per head",
            "token": "per token and head",
            "rotated": "per token and head after a Hadamard rotation, with a zero point",
            "group": f"per {self.group} channels of a token and head{self._choice}, scales in E4M3 below one",
            "channel": f"keys per channel in groups of {self.group} tokens, values per token in groups of {self.group}",
        }
        where = {ONE: ", scale 1.0", CALIBRATION: ", calibrated", EXACT: ", from the largest entry of all text"}
        return f"{self.number} {shared[self.shared]}{where.get(self.scale, '')}"

    @property
    def _choice(self) -> str:
        many = len(self.peaks) > 1
        return f", the largest {' or '.join(f'{peak:g}' for peak in self.peaks)}" if many else ""


def _nvfp4(scale: str, *others: float) -> Cache:
    dtype = "nvfp4_4over6" if others else "nvfp4"
    return Cache(number="fp4_e2m1", shared="group", group=16, scale=scale, peaks=(6.0, *others), dtype=dtype)


CACHES = {
    "KV_FP8": Cache(number="fp8_e4m3", shared="tensor", scale=CALIBRATION, dtype="fp8"),
    "KV_FP8_ONE": Cache(number="fp8_e4m3", shared="tensor", scale=ONE, dtype="fp8"),
    "KV_FP8_EXACT": Cache(number="fp8_e4m3", shared="tensor", scale=EXACT, dtype="fp8"),
    "KV_FP8_HEAD": Cache(number="fp8_e4m3", shared="head", scale=CALIBRATION, dtype="fp8"),
    "KV_FP8_E5M2": Cache(number="fp8_e5m2", shared="tensor", scale=ONE, dtype="fp8_e5m2"),
    "KV_FP8_PER_TOKEN_HEAD": Cache(number="fp8_e4m3", shared="token", dtype="fp8_per_token_head"),
    "KV_INT8": Cache(number="int8", shared="tensor", scale=CALIBRATION),
    "KV_INT8_PER_TOKEN_HEAD": Cache(number="int8", shared="token", dtype="int8_per_token_head"),
    "KV_INT4_PER_TOKEN_HEAD": Cache(number="int4", shared="rotated", dtype="int4_per_token_head"),
    "KV_INT4": Cache(number="int4", shared="channel", group=32),
    "KV_NVFP4": _nvfp4(CALIBRATION),
    "KV_NVFP4_ONE": _nvfp4(ONE),
    "KV_NVFP4_4OVER6": _nvfp4(CALIBRATION, 4.0),
    "KV_NVFP4_4OVER6_ONE": _nvfp4(ONE, 4.0),
}
DEFAULT_CACHES = ("KV_FP8", "KV_FP8_ONE", "KV_FP8_EXACT", "KV_INT8")
"""What is reported of keys and values where no scheme was asked for: those that follow from their histograms."""


def instead(name: str, widths: Iterable[tuple[int, bool]]) -> list[str]:
    """What else keeps heads of these widths, each with whether it is a latent state, by scales that are calibrated or
    its own: those of as few bits first.
    """
    widths = list(widths)
    found = [
        other
        for other, how in CACHES.items()
        if how.scale not in (ONE, EXACT) and not any(how.refuses(*width) for width in widths)
    ]
    return sorted(found, key=lambda other: abs(CACHES[other].bits - CACHES[name].bits))
