"""Scales of a KV cache, from a Record: what vLLM reads beside the weights of attention. No torch.

`<attention>.k_scale` and `<attention>.v_scale`, float32 [1], named as compressed-tensors names them in the checkpoint's
files: the largest magnitude that was met over what a cache takes it to (448 in FP8, 6 x 448 in NVFP4), exact over all
text, as it is deployed too. Guard: a Record that saw a part, or nothing finite, makes no scale.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pytest_maxact.errors import InputError, setting
from pytest_maxact.numbers.caches import CACHES, ONE
from pytest_maxact.numbers.schemes import scheme_called
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record

FP8 = "KV_FP8"


def kv_scales(record: Record, scheme: str = FP8) -> dict[str, npt.NDArray[np.float32]]:
    """Raises InputError for a scheme whose scales are not one for a tensor or not static, for a Record without keys and
    values, for latent attention, for attention whose place in the files is not known, and where an entry is not finite
    or all are zero.
    """
    how = scheme_called(scheme).cache
    if how is None or how.scale in ("", ONE) or how.shared == "head":
        static = [name for name, one in CACHES.items() if one.scale not in ("", ONE) and one.shared != "head"]
        raise InputError(
            f"{scheme} takes no scale for keys or values from a file\n  there are {', '.join(static)}, which do"
        )
    found = dict(_scales(record, how.top))
    if not found:
        raise InputError(
            "this Record observed no keys and values, of which scales of a cache are made\n"
            f"  measure again with {setting('sites')} attention"
        )
    return found


def _scales(record: Record, top: float) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    for reading in record.sites.values():
        site = reading.site
        if site.kind == "kv_latent":
            raise InputError(
                f"{site.name}: latent attention keeps one state for keys and values, whose scale has no name in "
                "compressed-tensors\n  let the runtime find it, or keep the cache in 16 bits"
            )
        if not site.is_cached:
            continue
        if not reading.shared:
            raise InputError(
                f"{site.name}: it is not known what the files call {site.module}, of which the scale is\n"
                "  measure the checkpoint as safetensors, once more"
            )
        scale = np.asarray([_largest(reading) / top], np.float32)
        yield from ((f"{path}.{site.kind}_scale", scale) for path in reading.shared)


def _largest(reading: SiteReading) -> float:
    largest = max(reading.max_abs, reading.as_deployed or 0.0)
    if not (math.isfinite(largest) and largest > 0):
        raise InputError(
            f"{reading.site.name}: its largest magnitude is {largest}, which makes no scale\n"
            "  see that the checkpoint gives finite numbers on this text"
        )
    return largest
