"""What every scheme is, in words that follow from how it quantizes: a scheme more has its text at once."""

from pytest_maxact.errors import setting
from pytest_maxact.judge.explain.entry import EXPECTED, SCHEME, WAIVE, Entry
from pytest_maxact.numbers.schemes import ALIASES, SCHEMES, Quantizer, Scheme

_NUMBERS = {
    "int4": "4-bit integers",
    "int8": "8-bit integers",
    "fp4_e2m1": "4-bit floats (E2M1)",
    "fp8_e4m3": "8-bit floats (E4M3)",
}


def scheme_entry(scheme: Scheme) -> Entry:
    others = [alias for alias, meant in ALIASES.items() if meant == scheme.name]
    also = f" Also called {', '.join(others)}." if others else ""
    return Entry(
        name=scheme.name,
        group=SCHEME,
        what=f"{_what(scheme)}.{also}",
        unit="none; its quantities have theirs (sqnr_db, mean_kl, ...)",
        measured=_measured(scheme),
        breach=_breach(scheme),
        todo=(*_remedies(scheme), EXPECTED, WAIVE),
    )


def _what(scheme: Scheme) -> str:
    if scheme.cache:
        served = f", vLLM's `--kv-cache-dtype {scheme.cache.dtype}`" if scheme.cache.dtype else ""
        return f"Keys and values as a cache gives them back, {scheme.cache.in_words}{served}"
    if scheme.cast:
        return f"Every tensor of the model cast to {scheme.cast}"
    weights = f"weights in {_words(scheme.weights, 'output channel')}"
    if scheme.activations is None:
        return f"{weights.capitalize()}, activations in 16 bits"
    return f"Inputs of linear layers in {_words(scheme.activations, 'token')}; {weights}"


def _words(how: Quantizer | None, row: str) -> str:
    if how is None:
        return "16 bits"
    shared = {
        "tensor": "the whole tensor",
        "row": f"each {row}",
        "group": f"each group of {how.group}",
        "block": f"each block of {how.group} x {how.group}",
    }[how.granularity]
    of = {"e8m0": " that is a power of two", "e4m3": " in E4M3"}.get(how.scale, "")
    return f"{_NUMBERS[how.number]}, a{' static' if how.static else ''} scale{of} for {shared}"


def _measured(scheme: Scheme) -> str:
    if scheme.cast:
        return (
            "range over every entry (headroom) and over attention scores; the error of rounding from histograms;"
            " what it"
            f" does to predictions with {setting('effect')}"
        )
    if scheme.cache:
        return (
            "in float32 as vLLM's kernels compute, at every key and value that attention is given, and in predictions"
        )
    scales = "; static scales come from the calibration third of the corpus" if scheme.needs_calibration else ""
    return f"bit for bit as compressed-tensors quantizes, at every linear layer, and in predictions{scales}"


def _breach(scheme: Scheme) -> str:
    if scheme.cast == "float16":
        return "Activations, weights or attention scores pass 65 504: what was trained in bfloat16 may overflow here."
    if scheme.cast:
        return "Seven bits of a number are too few somewhere, as in the sums of a recurrent state."
    if scheme.cache:
        return "One channel, head or token of the keys sets the scale that others share: see channel_ratio."
    if scheme.activations is None:
        return "A weight has outliers that its scale cannot hold beside the rest; activations are not touched."
    if scheme.activations.granularity == "tensor":
        return "One outlier sets the scale of a whole tensor: massive activations at down_in, as a rule."
    if scheme.activations.granularity == "row":
        return "Within one token a few channels carry far more than the others."
    return "Within one group of neighbours one entry carries far more than the others, or the numbers are too coarse."


def _remedies(scheme: Scheme) -> tuple[tuple[str, str], ...]:
    if scheme.cast == "float16":
        return (("run it in bfloat16", "the range of float32, in 16 bits"),)
    if scheme.cast:
        return (("keep it in float32", "the part that the report names, or the whole model"),)
    if scheme.cache:
        finer = ("finer scales", "per token and head, or per channel for keys: the report says which scheme would do")
        return (finer, ("calibrate", "`maxact export RECORD --kv-scales FILE` writes scales from the largest entries"))
    kept = ("keep layers in 16 bits", "the report says which few, and what predictions are then")
    if scheme.activations is None:
        return (kept, ("8 bits for weights", "W8A16 or FP8_DYNAMIC where 4 bits are too few"))
    finer = {
        "tensor": ("scales per token", "W8A8 in place of W8A8_STATIC, FP8_DYNAMIC in place of FP8"),
        "row": ("smooth it", "`maxact export RECORD --smoothquant FILE` writes the channel maxima for it"),
    }.get(scheme.activations.granularity, ("more bits", "FP8_DYNAMIC or W8A8, or weights alone in low bits"))
    return (kept, finer)


def schemes() -> dict[str, Entry]:
    return {name: scheme_entry(scheme) for name, scheme in SCHEMES.items()}
