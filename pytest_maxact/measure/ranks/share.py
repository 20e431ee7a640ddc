"""What a rank needs for its share of a measurement: the device that is its own, and what must be the same wherever a
share is measured.
"""

import hashlib
import json
import re
from dataclasses import replace

import torch

from pytest_maxact.errors import InputError, setting
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.provenance import content_of
from pytest_maxact.measure.ranks.team import Team
from pytest_maxact.numbers.ways import PARALLEL
from pytest_maxact.settings.settings import Settings


def at_its_place(settings: Settings, team: Team) -> Settings:
    """The settings of one rank: where GPUs are used, each rank of a machine has one of its own. Raises InputError for
    more ranks than GPUs.
    """
    team.device = settings.device
    if settings.device not in ("auto", "cuda", PARALLEL) or not torch.cuda.is_available():
        return settings
    local, count = team.place.local, torch.cuda.device_count()
    if local >= count:
        raise InputError(
            f"{team.place} is number {local + 1} of its machine, which has {count} GPUs\n"
            f"  start one rank for each GPU, or name one for all to share, {setting('device')} cuda:0"
        )
    torch.cuda.set_device(local)
    return settings if settings.device == PARALLEL else replace(settings, device=f"cuda:{local}")


def facts_of(prepared: Prepared, settings: Settings, weights: str | None) -> dict[str, str | None]:
    """What must be equal on all ranks: everything that decides figures, and the digest of the weight files where this
    rank tells it.
    """
    content = content_of(prepared, settings, "", ())
    content["device"] = re.sub(r":\d+", "", content["device"])
    told = json.dumps(content, sort_keys=True, default=str)
    return {"content": hashlib.sha256(told.encode()).hexdigest()[:16], "weights": weights}
