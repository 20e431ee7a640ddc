"""What a run was asked to do and what it is about, handed to its xdist workers. No torch.

The dataclasses are the format: what is read is checked against them, so a run that a worker understands otherwise than
it was meant is refused.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from pytest_maxact.gate.plan import Plan
from pytest_maxact.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    settings: Settings
    plan: Plan


def write_handover(path: Path, handover: Handover) -> None:
    """Leave it for other processes, infinite numbers included."""
    path.write_text(json.dumps(TypeAdapter(Handover).dump_python(handover, mode="json")), encoding="utf-8")


def read_handover(path: Path) -> Handover:
    """The reverse of `write_handover`."""
    return TypeAdapter(Handover).validate_json(path.read_bytes())
