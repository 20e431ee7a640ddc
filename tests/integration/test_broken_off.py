"""What could not be measured, or was broken off, has not passed."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny
from tests.support.gate_runs import CHECKS, drop_tensor, run_gate


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_what_cannot_be_measured_is_an_error_on_every_check_and_told_once(
    options: tuple[str, ...], pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    folder = tiny.save(tmp_path / "partial", tiny.random_model("qwen3"))
    drop_tensor(folder, "layers.1.mlp.up_proj.weight")
    result = run_gate(
        pytester,
        *(f"--maxact-model={folder}", f"--maxact-corpus={corpus}", *options),
        exit=1,
        says=["lack 1 tensor that the config calls for, the first layers.1.mlp.up_proj.weight config.json and"],
        subprocess=bool(options),
        errors=CHECKS,
    )
    told = result.outlines
    verdict = next(number for number, line in enumerate(told) if "maxact: the verdict" in line)
    assert told[verdict + 1].startswith("FAIL: could not measure: the weights")
    assert len(told) - verdict <= 9, "eight lines at most, and the last of pytest's own"
    assert sum("could not measure" in line for line in told) == CHECKS + 1, "a line for each check, and the cause"
    assert len(told) <= CHECKS + 22
    assert " ".join(told).count("do not belong together") == 1, "in full once"
    assert "During handling" not in result.stdout.str()


@pytest.mark.parametrize("error", ['RuntimeError("CUDA out of memory")', 'pytest.fail.Exception("Timeout >300.0s")'])
@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_measurement_that_ends_in_any_other_error_is_not_tried_again(
    error: str, options: tuple[str, ...], pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.makeconftest(f"""
        import pytest
        from pathlib import Path
        from pytest_maxact.measure import run as measure

        def load(checkpoint, *how):
            with open(Path(__file__).parent / "loads.txt", "a") as file:
                file.write("load ")
            raise {error}

        measure.load = load
        """)
    result = pytester.runpytest_subprocess(f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", *options)
    result.assert_outcomes(errors=CHECKS)
    assert (pytester.path / "loads.txt").read_text() == "load "
    name = error.split("(")[0].replace("pytest.fail.Exception", "Failed")
    result.stdout.fnmatch_lines([f"FAIL: could not measure: the measurement ended in {name}: *"])
    assert "PASS" not in result.stdout.str()


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_check_that_something_else_broke_off_has_not_passed(
    options: tuple[str, ...], pytester: pytest.Pytester, saved: Path
) -> None:
    pytester.makeconftest("""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_call(item):
            if item.nodeid == "maxact::layers.1.hidden::max_abs":
                raise RuntimeError("of the user's own")
        """)
    result = pytester.runpytest_subprocess(f"--maxact-replay={saved}", *options)
    result.assert_outcomes(failed=1, passed=CHECKS - 1)
    assert result.ret == 1
    assert "PASS" not in result.stdout.str()
    text = " ".join(result.stdout.str().split())
    assert (
        "FAIL: 1 check was broken off by an error outside of the gate, the first maxact::layers.1.hidden::max_abs"
        in text
    )


def test_a_run_that_was_interrupted_has_not_passed(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeconftest("""
        def pytest_runtest_call(item):
            if item.nodeid == "maxact::layers.1.hidden::max_abs":
                raise KeyboardInterrupt
        """)
    result = pytester.runpytest_subprocess(f"--maxact-replay={saved}")
    assert result.ret == 2
    assert "PASS" not in result.stdout.str()
    result.stdout.fnmatch_lines(["FAIL: the run was broken off before its end"])


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_run_that_is_asked_to_end_is_reported_as_one_that_was_interrupted(
    options: tuple[str, ...], pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # of the run that this one is made in
    pytester.makeconftest("""
        import os
        import signal

        told = []

        def pytest_runtest_logreport(report):
            if "PYTEST_XDIST_WORKER" not in os.environ and report.when == "call" and not told:
                told.append(report)
                os.kill(os.getpid(), signal.SIGTERM)
        """)
    summary = pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = pytester.runpytest_subprocess(
        f"--maxact-replay={saved}", "--maxact-github=on", "--maxact-json-report=run.json", *options
    )
    assert result.ret == 2
    told = "the run was broken off before its end, by SIGTERM"
    result.stdout.fnmatch_lines([f"FAIL: {told}"])
    document = json.loads((pytester.path / "run.json").read_text())
    assert (document["verdict"], document["faults"][0]) == ("FAIL", told)
    assert f"**FAIL: {told}**" in summary.read_text()
    assert "::error " in result.stderr.str()


def test_a_run_that_is_asked_to_end_before_its_checks_is_told_to_the_runner(
    pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest("""
        import os
        import signal

        def pytest_collection_modifyitems():
            os.kill(os.getpid(), signal.SIGTERM)
        """)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    options = ("--maxact-github=on", "--maxact-json-report=run.json")
    assert pytester.runpytest_subprocess(f"--maxact-replay={saved}", *options).ret == 2
    assert "## maxact: " in (pytester.path / "summary.md").read_text()
    assert "PASS" not in (pytester.path / "summary.md").read_text()
    assert json.loads((pytester.path / "run.json").read_text())["verdict"] != "PASS"


@pytest.mark.parametrize("own", [signal.SIG_DFL, signal.SIG_IGN, lambda *_: None])
def test_who_handles_a_signal_is_as_it_was_after_a_run(own: Any, pytester: pytest.Pytester, saved: Path) -> None:
    before = signal.signal(signal.SIGTERM, own)
    try:
        run_gate(pytester, f"--maxact-replay={saved}", exit=0)
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_report_measures_nothing_that_a_worker_died_of(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.makeconftest("""
        import os
        from pathlib import Path
        from pytest_maxact.measure import run as measure

        def load(checkpoint, *how):
            with open(Path(__file__).parent / "loads.txt", "a") as file:
                file.write(os.environ.get("PYTEST_XDIST_WORKER", "controller") + " ")
            os._exit(9)

        measure.load = load
        """)
    options = ("-n", "1", "--max-worker-restart=0", "maxact::layers.0.hidden::max_abs")
    result = pytester.runpytest_subprocess(f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", *options)
    assert result.ret != 0
    assert "controller" not in (pytester.path / "loads.txt").read_text()
    assert "PASS" not in result.stdout.str()
    assert "FAIL: 1 check was broken off by an error outside of the gate" in " ".join(result.stdout.str().split())


def test_a_record_that_was_not_written_is_not_said_to_be(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    folder = tiny.save(tmp_path / "partial", tiny.random_model("qwen3"))
    drop_tensor(folder, "layers.1.mlp.up_proj.weight")
    result = run_gate(
        pytester,
        f"--maxact-model={folder}",
        f"--maxact-corpus={corpus}",
        "--maxact-save=never.safetensors",
        errors=CHECKS,
    )
    assert "written to" not in result.stdout.str()
    assert not (pytester.path / "never.safetensors").exists()


def test_what_a_worker_died_of_is_told_of_every_check_and_not_tried_again(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.makeconftest("""
        import os
        import time
        from pathlib import Path
        from pytest_maxact.measure import run as measure

        HERE, BEGAN = Path(__file__).parent, time.time()

        def load(checkpoint, *how):
            with open(HERE / "loads.txt", "a") as file:
                file.write("load ")
            (HERE / "died").write_text(f"{BEGAN} {time.time()}")
            os._exit(0)

        def pytest_configure(config):
            global starts_workers
            starts_workers = not hasattr(config, "workerinput")

        def pytest_runtest_logreport(report):
            if starts_workers and "the process that measured it died" in str(report.longrepr):
                with open(HERE / "told", "a") as file:
                    file.write(f"{time.time()} ")

        measure.load = load
        """)
    options = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "-n", "2")
    result = pytester.runpytest_subprocess(*options)
    assert result.ret == 1
    began, died = map(float, (pytester.path / "died").read_text().split())
    told = list(map(float, (pytester.path / "told").read_text().split()))
    assert len(told) == CHECKS - 1
    assert told[0] - died < 5 + (died - began), "as long as it took the worker to get there, and a few seconds"
    assert (pytester.path / "loads.txt").read_text() == "load "
    assert result.parseoutcomes() == {"failed": 1, "errors": CHECKS - 1}
    result.stdout.fnmatch_lines(["FAIL: could not measure: the process that measured it died"])
