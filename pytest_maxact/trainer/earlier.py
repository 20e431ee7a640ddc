"""What a run that was resumed is known to have found before: its own log and the Records beside its checkpoints in, a
Record, a reason why there is none, or a remark for each step out.

Guards that a step which could not be measured, or of which checks failed, is not forgotten when the run goes on, and
that no Record which another run left in the folder is taken for one of this.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_maxact.errors import MaxactError, MeasureError
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.file import load
from pytest_maxact.record.record import Record
from pytest_maxact.trainer.logged import BREACHES, SECONDS, is_of, logged_by
from pytest_maxact.trainer.preparation import record_path, step_name


def wants_measuring(state: Any, folder: Path, every: int | None) -> bool:
    """Whether the step that a run goes on from is to be measured before the next: its log was written before its own
    measurement was made, so nothing says that a Record beside it is of these weights, nor what was found.
    """
    here, told = state.global_step, logged_by(state)
    if not here or here in told:
        return False
    return record_path(folder, here).is_file() or (bool(told) and (every is None or here % every == 0))


def found_before(state: Any, folder: Path, first: Record | None) -> Iterator[tuple[int, Record | MaxactError | str]]:
    """By step, in order, of those in the run's log. `first`: the earliest Record that is still there, which is loaded
    already.
    """
    here, told = state.global_step, logged_by(state)
    if here and not told and not record_path(folder, here).is_file():
        yield here, f"the run goes on from step {here}, before which nothing was measured"
    for step, entry in told.items():
        found = _found(step, entry, record_path(folder, step), first)
        if found is first:
            first = None
        yield step, found


def _found(step: int, entry: Mapping[str, float], path: Path, first: Record | None) -> Record | MaxactError | str:
    failing = int(entry.get(BREACHES, 0))
    if SECONDS not in entry:
        return MeasureError("it was not measured before this run was resumed\n  train again from before that step")
    if path.is_file():
        try:
            record = first if first and is_of(first, entry) else load(path)
        except MaxactError as error:
            return error
        if is_of(record, entry):
            return record
        return MeasureError(
            f"the Record {path} is of other weights than this run's log tells of step {step}\n"
            "  another run wrote to this folder; give each run one of its own"
        )
    if failing:
        return MeasureError(f"its Record {path} is gone, and {counted(failing, 'check')} of it failed\n  put it back")
    return f"{step_name(step)}: its Record {path} is gone; no check failed there before this run was resumed"
