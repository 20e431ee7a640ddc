"""Faults planted in exports of every format are named, with tensor and layer or expert; sound exports have none."""

from pathlib import Path

import pytest

from pytest_maxact.checkpoint.lint.look import lint
from pytest_maxact.checkpoint.lint.names import expert_of, layer_of
from pytest_maxact.numbers.lint import LINTS
from tests.support.defects import DEFECTS
from tests.support.linting import LINTED, export, planted


@pytest.mark.parametrize("name", LINTED)
def test_a_sound_export_has_no_finding(name: str) -> None:
    found = lint(export(name))
    assert (found.red, dict(found.counts)) == (0, {}), found.faults[:3]


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_fault_is_red_and_named(name: str, tmp_path: Path) -> None:
    defect = DEFECTS[name]
    found = lint(planted(tmp_path / "export", defect))
    named = [fault for fault in found.faults if fault.code == defect.code and defect.tensor in fault.tensor]
    assert named, [(fault.code, fault.tensor, fault.what) for fault in found.faults]
    assert not LINTS[defect.code].remark
    assert found.red
    assert (named[0].layer, named[0].expert) == (layer_of(named[0].tensor), expert_of(named[0].tensor))
    assert named[0].layer is not None or named[0].tensor in ("config.json", "lm_head.weight")


def test_at_least_ten_faults_are_those_of_public_reports_and_thirty_are_planted() -> None:
    reports = {defect.report for defect in DEFECTS.values() if defect.report}
    assert len(DEFECTS) >= 30
    assert len(reports) >= 10
    assert len(LINTED) >= 20
