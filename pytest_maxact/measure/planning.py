"""The plan of a measurement before anything is loaded: a model without weights, its sites and the rooms that there are
in; where it will live and how many tokens a batch has out.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.placement.need import Need, need_of, with_margin
from pytest_maxact.checkpoint.placement.placement import Placement, of_a_rank, place
from pytest_maxact.checkpoint.placement.rooms import Room
from pytest_maxact.checkpoint.placement.sharding import entries_of_a_rank, unsharded
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.errors import InputError, setting
from pytest_maxact.measure.observe.accumulate import bytes_of_a_site
from pytest_maxact.measure.observe.sums import bytes_of_sums
from pytest_maxact.measure.ranks.place import Place
from pytest_maxact.measure.stream.refused import unstreamed
from pytest_maxact.numbers.schemes import SCHEMES, Scheme
from pytest_maxact.numbers.ways import AUTO, OFFLOADED, PARALLEL, SPLIT, STREAMED, WHOLE
from pytest_maxact.settings.settings import Settings

BATCH_TOKENS = 8192
"""On a CPU: that of a run that does not ask."""
_MOST_TOKENS = 65536
INSTALL = "accelerate is not installed: pip install 'pytest-maxact[large]'"


def needed_by(
    whole: nn.Module, anatomy: Anatomy, dtype: str, settings: Settings, batch_tokens: int, longest: int,
    schemes: Sequence[Scheme], files: WeightFiles | None, static: bool = False,
) -> Need:  # fmt: skip
    """What a pass needs. `whole`: the model on the meta device; `longest`: tokens of the longest sample; `static`:
    whether static scales of the artifact are held against its sites.
    """
    return need_of(
        whole,
        dtype,
        batch_tokens=batch_tokens,
        longest=longest,
        accumulators=accumulators_of(anatomy, schemes, static),
        files=sum(file.stat().st_size for file in files.loaded) if files else 0,
        cast=any(SCHEMES[name].cast for name in settings.effects_measured),
    )


def accumulators_of(anatomy: Anatomy, schemes: Sequence[Scheme], static: bool) -> int:
    """Bytes of all that is kept of the sites while a pass runs; a second pass over deployed samples, for schemes and
    `static` scales, has its own.
    """
    quantized = sum(scheme.activations is not None for scheme in schemes)
    linear = {tap.site.name for tap in anatomy.linears}
    once = len(anatomy.sites) * bytes_of_a_site() + len(linear) * quantized * bytes_of_sums()
    return once * (2 if schemes or static else 1)


def planned(
    whole: nn.Module, anatomy: Anatomy, dtype: str, settings: Settings, longest: int, schemes: Sequence[Scheme],
    files: WeightFiles | None, rooms: Sequence[Room], here: Place | None = None, static: bool = False,
) -> tuple[Placement, int]:  # fmt: skip
    """Where a model will live, and tokens of a batch: as many as were asked for, or as the device holds. `here`: which
    of several ranks that measure it this is; `static` as of `needed_by`.
    """
    if settings.device == PARALLEL:
        tokens = settings.batch_tokens or BATCH_TOKENS
        need = needed_by(whole, anatomy, dtype, settings, tokens, longest, schemes, files, static)
        return _of_a_rank(whole, need, dtype, rooms, here), tokens
    refused = refused_ways(is_quantized(whole, files), settings, here is not None)

    def placed(tokens: int) -> tuple[Need, Placement]:
        need = needed_by(whole, anatomy, dtype, settings, tokens, longest, schemes, files, static)
        return need, place(need, rooms, settings.device, refused)

    if settings.batch_tokens != AUTO:
        return placed(settings.batch_tokens)[1], settings.batch_tokens
    least = min(BATCH_TOKENS, max(longest, 1024))
    need, placement = placed(least)
    if placement.device != "cpu" or placement.against:
        return placement, batch_tokens_for(need, least, placement, rooms, longest)
    size = BATCH_TOKENS
    while size > least:
        larger = placed(size)[1]
        if larger.how == placement.how and not larger.against:
            return larger, size
        size //= 2
    return placement, least


def _of_a_rank(whole: nn.Module, need: Need, dtype: str, rooms: Sequence[Room], here: Place | None) -> Placement:
    """Of one of several ranks that hold a model together: those of a run, or else one for each GPU that there is."""
    gpus = [room for room in rooms if not room.is_host]
    ranks = here.size if here else max(len(gpus), 1)
    own = f"cuda:{here.local}" if here else rooms[0].device
    room = next((room for room in rooms if room.device == own), rooms[-1])
    weights = getattr(torch, dtype).itemsize * entries_of_a_rank(whole, ranks)
    return of_a_rank(replace(need, weights=weights), room, ranks)


def refuse_unparallel(whole: Any, settings: Settings, here: Place | None, quantized: bool) -> None:
    """Raise InputError where ranks shall hold a model together and cannot."""
    if settings.device != PARALLEL:
        return
    mend = f"choose another {setting('device')}: split, offload or stream"
    if here is None:
        why, mend = (
            "one process was started, and ranks of torchrun hold the model together",
            ("start them as in: torchrun --nproc-per-node 2 -m pytest, or python -m torch.distributed.run"),
        )
    elif settings.effects_measured:
        why = f"{setting('effect')} and {setting('deploy')} run quantized weights, which no rank holds as a whole"
        mend = f"leave them out ({setting('schemes')} tells all of linear layers), or " + mend
    elif settings.repeat:
        why = f"{setting('repeat')} measures samples again on one rank, and none holds the model as a whole"
        mend = "leave it out, or " + mend
    else:
        why = "its weights are in low bits, and are not read in parts" if quantized else unsharded(whole, here.size)
    if why:
        raise InputError(f"{setting('device')} {PARALLEL}: {why}\n  {mend}")


def batch_tokens_for(need: Need, asked: int, placement: Placement, rooms: Sequence[Room], longest: int) -> int:
    """Tokens of a batch for `auto` on a GPU: as many as it holds, a power of two, so that two runs on one machine make
    the same batches.
    """
    if placement.device == "cpu":
        return asked
    room = next(room for room in rooms if room.device == placement.device)
    taken = placement.limits.get(room.device, need.weights if placement.how == WHOLE else need.largest * 2)
    fixed = taken + need.beside - need.activations + need.matrix
    left = room.free - with_margin(fixed)
    each = max(1, -(-need.activations // max(asked, longest)))
    most = max(1, int(left * 8 / 9) // each)
    return int(max(min(1 << (most.bit_length() - 1), _MOST_TOKENS), 1024))


def refused_ways(quantized: bool, settings: Settings, shared: bool = False) -> dict[str, str]:
    """Ways that cannot be taken whatever is free, and why."""
    found: dict[str, str] = {}
    if find_spec("accelerate") is None:
        found |= {SPLIT: INSTALL, OFFLOADED: INSTALL}
    if why := unstreamed(quantized, settings) or ("ranks of torchrun do not share a streamed pass" if shared else ""):
        found[STREAMED] = why
    return found


def is_quantized(whole: Any, files: WeightFiles | None) -> bool:
    """Whether its weights lie in its files in low bits."""
    return bool(getattr(whole.config, "quantization_config", None)) or (files is not None and files.packing is not None)


def refuse_auto_parts(settings: Settings, shared: bool = False) -> None:
    """Raise InputError where parts of one corpus would be cut by what each machine, or rank, holds."""
    parts = f"the parts of {setting('shard')}" if settings.shard is not None else "the shares of ranks"
    if settings.batch_tokens == AUTO and (settings.shard is not None or shared):
        raise InputError(
            f"{setting('batch_tokens')} auto: {parts} must be cut alike on every machine\n"
            f"  give a number, as in {setting('batch_tokens')} {BATCH_TOKENS}"
        )
