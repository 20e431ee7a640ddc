"""What a Record knows about the inputs of linear layers, as files that quantization tools read. No torch.

Every linear layer has an entry, by its path in the model: layers that are given the same tensor have equal ones. The
figures are of the calibration split, exact in the tensor's own dtype.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pytest_maxact.errors import InputError, setting
from pytest_maxact.numbers.formats import EPSILON, FP8_MAX, rounded_to
from pytest_maxact.numbers.schemes import SCHEMES, Quantizer, scheme_called
from pytest_maxact.record.file import metadata_of
from pytest_maxact.record.output import Kind, unwritten, write_output
from pytest_maxact.record.reading import SiteReading, distributions_of
from pytest_maxact.record.record import Record

Tensors = Mapping[str, npt.NDArray[np.float32]]
_FP4_MAX = 6.0
_SMALLEST_NORMAL = {"bfloat16": 2.0**-126, "float16": 2.0**-14, "float32": 2.0**-126}
_KEY = "maxact"
"""The one metadata key: with several, safetensors would write them in no fixed order."""
EXPORT = Kind(called="the export", is_one=lambda path: bool(said := metadata_of(path)) and "schema" not in said)


def smoothquant(record: Record) -> dict[str, npt.NDArray[np.float32]]:
    """The largest magnitude of every input channel of every linear layer, float32 [in_features], by the layer's path:
    what SmoothQuant and AWQ take.

    A channel that is zero throughout stays zero. Raises InputError for a Record that is slim or without inputs of
    linear layers, and for a tensor that is zero altogether or not finite.
    """
    return {path: channels for path, channels, _ in _inputs(record)}


def static_scales(record: Record, scheme: str) -> dict[str, npt.NDArray[np.float32]]:
    """The static scale of every linear layer's input, float32 [1], in the arithmetic of the tensor's dtype, under the
    names of compressed-tensors.

    `<path>.input_scale` is the amax over 448 (FP8) or over 127 (W8A8_STATIC); `<path>.input_global_scale` is 448 x 6
    over the amax (NVFP4). Raises InputError as `smoothquant` does, and for a scheme without static scales.
    """
    how = scheme_called(scheme).activations
    if how is None or not how.needs_calibration:
        static = [name for name, known in SCHEMES.items() if known.activations and known.activations.needs_calibration]
        raise InputError(
            f"{scheme} has no static scales for activations, it finds them at run time\n  there are {', '.join(static)}"
        )
    kind = "input_global_scale" if how.scale else "input_scale"
    return {f"{path}.{kind}": _scale(channels.max(), how, reading) for path, channels, reading in _inputs(record)}


def write(tensors: Tensors, target: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all; the same tensors and metadata give the same bytes. The metadata is
    one JSON object, under `maxact`.

    Raises InputError where the place cannot be written, lies in a checkpoint, or holds a file of another kind.
    """
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    try:
        write_output(target, save(contiguous, metadata={_KEY: json.dumps(dict(metadata), sort_keys=True)}), EXPORT)
    except OSError as error:
        raise InputError(f"cannot write {target}: {unwritten(error)}") from error


def _inputs(record: Record) -> Iterator[tuple[str, npt.NDArray[np.float32], SiteReading]]:
    """Every linear layer's path, the largest magnitude of each of its input channels, and its site."""
    if record.is_summary:
        raise InputError(
            "this Record is slim and does not hold the maxima of channels, which are exported\n"
            f"  measure again without {setting('slim')}"
        )
    sites = [reading for reading in record.sites.values() if reading.site.is_linear_input]
    if not sites:
        raise InputError(
            f"this Record observed no inputs of linear layers\n  measure again with {setting('sites')} deploy"
        )
    for reading in sites:
        channels = distributions_of(reading, "the maxima of channels").channels
        parts = channels.parts if channels else {}
        if not reading.shared or not set(reading.shared.values()) <= parts.keys():
            raise InputError(
                f"{reading.site.name}: the Record does not hold the channels of every linear layer there\n"
                f"  measure again with {setting('sites')} deploy, on a corpus of two samples or more"
            )
        for path, part in reading.shared.items():
            largest = float(parts[part].max())
            if not (math.isfinite(largest) and largest > 0):
                raise InputError(
                    f"{reading.site.name}: the largest magnitude that {path} was given in calibration is {largest}, "
                    "which makes no scale\n"
                    "  measure on a corpus that reaches it, and see that the checkpoint gives finite numbers"
                )
            yield path, parts[part], reading


def _scale(amax: np.float32, how: Quantizer, reading: SiteReading) -> npt.NDArray[np.float32]:
    """As `schemes.numerics` computes it, and where the dtype cannot hold it, what that puts in its place."""
    dtype = "float32" if reading.dtype == "float64" else reading.dtype
    value = np.asarray([amax], np.float32)
    with np.errstate(over="ignore"):
        if how.scale:
            inverse = (1.0 / np.maximum(value, _SMALLEST_NORMAL[dtype])).astype(np.float32)
            # torch divides by the rounded inverse
            scale = rounded_to(np.float32(FP8_MAX * _FP4_MAX) * rounded_to(inverse, dtype), dtype)
            scale[np.isinf(scale)] = 1.0
        else:
            top = float((1 << (how.bits - 1)) - 1) if how.is_integer else FP8_MAX
            scale = rounded_to(value / np.float32(top), dtype)
            scale[scale == 0] = EPSILON[dtype]
    return scale
