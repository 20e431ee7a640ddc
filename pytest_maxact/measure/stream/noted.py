"""What hooks noted of a batch that is half-way through a model, as plain data and back: for another process, which has
the same model.

How rows are routed inside a layer is left out: of those behind it nobody asks any more, and those before it note it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.hooks import Laid


def told(laid: Laid, anatomy: Anatomy) -> dict[str, Any]:
    """As JSON holds it."""
    numbers = _numbers(anatomy)
    running = laid.intake["running"]
    return {
        "running": [running[0], str(running[1]).removeprefix("torch.")] if running else None,
        "traffic": {site: given.tolist() for site, given in laid.intake["traffic"].items()},
        "order": list(laid.intake["order"]),
        "unordered": dict(laid.intake["_unordered"]),
        "calls": [[numbers[module], reads, count] for (module, reads), count in laid.calls.items()],
        "repeats": [[site, part, other] for (site, part), other in laid.repeats.items()],
    }


def taken(plain: Mapping[str, Any], batch: Batch, anatomy: Anatomy) -> Laid:
    """The reverse, of a batch that was put together anew."""
    modules = {number: module for module, number in _numbers(anatomy).items()}
    running = plain["running"]
    return Laid(
        intake={
            "batch": batch,
            "running": (running[0], getattr(torch, running[1])) if running else None,
            "traffic": {site: torch.tensor(given, dtype=torch.int64) for site, given in plain["traffic"].items()},
            "order": list(plain["order"]),
            "_routing": {},
            "_unordered": Counter(plain["unordered"]),
        },
        calls=Counter({(modules[number], reads): count for number, reads, count in plain["calls"]}),
        repeats={(site, part): other for site, part, other in plain["repeats"]},
    )  # fmt: skip


def _numbers(anatomy: Anatomy) -> dict[int, int]:
    """Modules that are read, by the number of the first tap that reads them."""
    found: dict[int, int] = {}
    for number, tap in enumerate(anatomy.taps):
        found.setdefault(id(tap.module), number)
    return found
