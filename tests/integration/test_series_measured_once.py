"""Of a series each checkpoint is measured once, by whichever run or worker comes first; what cannot be measured is an
error.
"""

import shutil
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.gate_runs import CHECKS, RELATIVE, drop_tensor, loads, run_gate
from tests.support.trained import scale_weight


def test_the_next_run_measures_only_what_is_new(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path, tmp_path: Path
) -> None:
    options = (f"--maxact-model={run}", f"--maxact-corpus={corpus}")
    run_gate(pytester, *options, passed=3 * CHECKS + 3 * RELATIVE)
    assert loads(counted) == {"checkpoint-5": 1, "checkpoint-10": 1, "checkpoint-20": 1}
    tiny.save(tmp_path / "run" / "checkpoint-40", tiny.random_model("qwen3", seed=0))
    moved = shutil.copytree(tmp_path / "run", tmp_path / "moved")
    run_gate(
        pytester, f"--maxact-model={moved}/checkpoint-*", f"--maxact-corpus={corpus}", passed=4 * CHECKS + 5 * RELATIVE
    )
    assert loads(counted) == {
        "checkpoint-5": 1,
        "checkpoint-10": 1,
        "checkpoint-20": 1,
    }, "checkpoint-40 holds the weights of checkpoint-5"
    tiny.save(tmp_path / "run" / "checkpoint-40", tiny.random_model("qwen3", seed=1))
    run_gate(pytester, *options, "--maxact-family=generic")
    assert loads(counted)["checkpoint-40"] == 1
    assert sum(loads(counted).values()) == 4
    run_gate(pytester, *options, "--maxact-batch-tokens=16", "--maxact-family=generic")
    assert sum(loads(counted).values()) == 8, "another batch plan is another measurement"


def test_under_xdist_each_model_is_loaded_once_in_total(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path
) -> None:
    result = pytester.runpytest_subprocess(
        f"--maxact-model={run}", f"--maxact-corpus={corpus}", "-n", "3", f"--maxact-baseline={run.replace('*', '5')}"
    )
    result.assert_outcomes(passed=3 * CHECKS + 6 * RELATIVE)
    assert loads(counted) == {"checkpoint-5": 1, "checkpoint-10": 1, "checkpoint-20": 1}
    result.stdout.fnmatch_lines(["*all * checks of 3 checkpoints hold"])


def test_under_xdist_without_a_cache_each_model_is_loaded_once_too(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path
) -> None:
    result = pytester.runpytest_subprocess(
        f"--maxact-model={run}", f"--maxact-corpus={corpus}", "-n", "2", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=3 * CHECKS + 3 * RELATIVE)
    assert loads(counted) == {"checkpoint-5": 1, "checkpoint-10": 1, "checkpoint-20": 1}


def test_a_checkpoint_that_cannot_be_measured_is_an_error_of_its_checks_and_of_those_against_it(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    drop_tensor(tmp_path / "run" / "checkpoint-10", "layers.1.mlp.down_proj.weight")
    result = run_gate(pytester, f"--maxact-model={run}", f"--maxact-corpus={corpus}")
    result.assert_outcomes(errors=CHECKS + RELATIVE, failed=RELATIVE, passed=2 * CHECKS + RELATIVE)
    result.stdout.fnmatch_lines(["FAIL: could not measure checkpoint-10: the weights*", "not measured: checkpoint-10"])


def test_a_series_whose_last_checkpoint_cannot_be_measured_has_not_passed(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    drop_tensor(tmp_path / "run" / "checkpoint-20", "layers.1.mlp.down_proj.weight")
    result = run_gate(
        pytester,
        f"--maxact-model={run}",
        f"--maxact-corpus={corpus}",
        errors=CHECKS + 2 * RELATIVE,
        passed=2 * CHECKS + RELATIVE,
    )
    assert result.ret == 1
    assert "PASS" not in result.stdout.str()
    result.stdout.fnmatch_lines(["FAIL: could not measure checkpoint-20: the weights*"])


def test_what_was_not_selected_is_neither_measured_for_the_report_nor_held_against_the_run(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path, tmp_path: Path
) -> None:
    drop_tensor(tmp_path / "run" / "checkpoint-10", "layers.1.mlp.down_proj.weight")
    (pytester.path / "mine.yaml").write_text("version: 1\nextends: builtin\n")
    options = (f"--maxact-model={run}", f"--maxact-corpus={corpus}", "--maxact-limits=mine.yaml")
    result = run_gate(
        pytester,
        *options,
        "maxact::checkpoint-20::layers.0.hidden::max_abs",
        passed=1,
        deselected=3 * CHECKS + 3 * RELATIVE - 1,
    )
    assert result.ret == 0
    assert loads(counted) == {"checkpoint-20": 1}
    left = 3 * CHECKS + 3 * RELATIVE - 1
    result.stdout.fnmatch_lines(
        [
            "*the one check that ran of 1 checkpoint holds",
            f"not run: {left} checks; of the {CHECKS - 1} that were measured 0 would fail",
            "not measured: checkpoint-5, checkpoint-10",
        ]
    )


def test_weights_that_change_while_they_are_measured_are_kept_under_no_name(
    run: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_maxact.errors import MeasureError
    from pytest_maxact.gate.session import open_session
    from pytest_maxact.measure import run as measure
    from pytest_maxact.settings.settings import Settings

    original = measure.load

    def load_late(checkpoint: object, *how: object) -> object:
        scale_weight(tmp_path / "run" / "checkpoint-5", "layers.1.mlp.down_proj.weight", 2.0)
        return original(checkpoint, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "load", load_late)
    session = open_session(Settings(model=run, corpus=str(corpus), cache=str(tmp_path / "cache")))
    first, *_ = session.plan.subjects
    with pytest.raises(MeasureError, match="changed while it was measured"):
        session.records.obtain(first.source)
    assert not list((tmp_path / "cache").glob("*.safetensors"))
