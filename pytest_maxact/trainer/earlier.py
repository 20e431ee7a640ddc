"""What a run that was resumed is known to have found before: its own log and the Records beside its checkpoints in, a
Record, a reason why there is none, or a remark for each step out.

Guards that a step which could not be measured, or of which checks failed, is not forgotten when the run goes on.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_maxact.errors import MaxactError, MeasureError
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.file import load
from pytest_maxact.record.record import Record
from pytest_maxact.trainer.logged import BREACHES, PREFIX, SECONDS
from pytest_maxact.trainer.preparation import record_path, step_name


def found_before(
    state: Any, folder: Path, every: int | None, first: Record | None
) -> Iterator[tuple[int, Record | MaxactError | str]]:
    """By step, in order. `first`: the earliest Record that is still there, which is loaded already."""
    here = state.global_step
    told = {entry["step"]: entry for entry in state.log_history if any(key.startswith(PREFIX) for key in entry)}
    if told and (every is None or here % every == 0):
        told.setdefault(here, {})  # its own measurement comes after its log was written
    elif here and record_path(folder, here).is_file():
        told[here] = {SECONDS: 0.0}
    if here and not told:
        yield here, f"the run goes on from step {here}, before which nothing was measured"
    for step, entry in sorted(told.items()):
        found = _found(step, entry, record_path(folder, step), first)
        if isinstance(found, Record):
            first = None
        yield step, found


def _found(step: int, entry: dict[str, float], path: Path, first: Record | None) -> Record | MaxactError | str:
    failing = int(entry.get(BREACHES, 0))
    if path.is_file() and (SECONDS in entry or not entry):
        try:
            return first or load(path)
        except MaxactError as error:
            return error
    if SECONDS not in entry:
        return MeasureError("it was not measured before this run was resumed\n  train again from before that step")
    if failing:
        return MeasureError(f"its Record {path} is gone, and {counted(failing, 'check')} of it failed\n  put it back")
    return f"{step_name(step)}: its Record {path} is gone; no check failed there before this run was resumed"
