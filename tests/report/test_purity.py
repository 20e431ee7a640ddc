"""Reports format and do nothing else: no module of theirs imports what measures, judges or computes a figure, and one
Record's report goes through few modules.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import pytest_maxact.report
from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.site_figures import figures_of
from pytest_maxact.record.file import load
from pytest_maxact.report.data.record import record_data
from pytest_maxact.report.terminal.record import render_record
from pytest_maxact.report.terminal.screen import Screen

ROOM = Path(pytest_maxact.report.__file__).parent
KEPT = sorted((Path(__file__).parents[1] / "data" / "records").glob("*.safetensors"))
COMPUTING = {
    "beyond_fp16", "check", "compare", "crossings", "first_broken", "first_jump", "fitness_of", "holds",
    "integer_figures", "judge", "metric_value", "milestones", "notices", "parting_of", "portray", "quantile", "rms",
    "scheme_distortion", "series_of", "standing", "tally_of", "trends",
}  # fmt: skip
MOST = 10


def imported(module: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("module", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_nothing_that_computes_is_imported(module: Path) -> None:
    computing = [name for _, name in imported(module) if name in COMPUTING]
    assert not computing
    homes = [home for home, _ in imported(module) if home.startswith("pytest_maxact.")]
    assert not [home for home in homes if home.endswith((".record.record", ".record.reading", ".metrics.value"))]


def modules_entered(call: Any, *args: Any) -> set[str]:
    """Those of the package whose code runs during a call."""
    entered: set[str] = set()

    def trace(frame: FrameType, event: str, arg: object) -> None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("pytest_maxact"):
            entered.add(name)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call(*args)
    finally:
        sys.settrace(before)
    return entered


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_report_of_one_record_goes_through_ten_modules_at_most(path: Path) -> None:
    record = load(path)
    portrait, figures = portray(record), figures_of(record)
    entered = modules_entered(render_record, portrait, Screen())
    assert "pytest_maxact.report.terminal.layers" in entered
    assert len(entered) <= MOST, sorted(entered)
    assert len(modules_entered(record_data, portrait, figures)) <= MOST
