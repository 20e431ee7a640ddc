"""A placement as what transformers is told when it loads a model: accelerate's device map, with what each device may
hold.

What neither the devices nor the machine's memory hold lies on disk: in the weight files themselves where these hold it
as it is, else in a folder that goes with the model.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers.distributed import DistributedConfig

from pytest_maxact.checkpoint.placement.placement import Placement
from pytest_maxact.numbers.ways import OFFLOADED, PARALLEL, SPLIT

_HELD = "_maxact_offloaded"


@dataclass(slots=True, kw_only=True)
class Mapping:
    """`arguments` of `from_pretrained`; `folder`: where layers lie that were put aside."""

    arguments: dict[str, Any] = field(default_factory=dict)
    folder: "TemporaryDirectory[str] | None" = None

    def settle(self, model: Any, device: torch.device) -> Any:
        """A loaded model where it shall live; what was put aside stays as long as it does."""
        if self.folder is not None:
            object.__setattr__(model, _HELD, self.folder)
        return model if self.arguments else model.to(device)


def mapped(placement: Placement | None) -> Mapping:
    """How a model is loaded to where it was planned to live."""
    if placement is not None and placement.how == PARALLEL:
        return Mapping(arguments={"distributed_config": DistributedConfig(tp_size=placement.ranks)})
    if placement is None or (placement.device == "cpu" and placement.how not in (SPLIT, OFFLOADED)):
        return Mapping()
    if placement.how not in (SPLIT, OFFLOADED):  # at once to the device, past the machine's memory
        return Mapping(arguments={"device_map": {"": placement.device}} if find_spec("accelerate") else {})
    limits = {_key(device): size for device, size in placement.limits.items()}
    if placement.how == SPLIT:
        return Mapping(arguments={"device_map": "auto", "max_memory": limits})
    folder = TemporaryDirectory(prefix="maxact-offload-", ignore_cleanup_errors=True)
    arguments = {"device_map": "sequential", "max_memory": {"cpu": 0, **limits}, "offload_folder": folder.name}
    return Mapping(arguments=arguments, folder=folder)


def _key(device: str) -> int | str:
    """A device as accelerate calls it."""
    return "cpu" if device == "cpu" else int(device.partition(":")[2] or 0)
