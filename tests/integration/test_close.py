"""`--maxact-close`: what keeps its limit too closely passes with a warning, or fails, and is never a plain pass."""

import json
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.judge.statement.schema import DETAILS
from pytest_maxact.record.file import load
from tests.support.gate_runs import run_gate

SITE = "layers.0.hidden"


@pytest.fixture
def near(saved: Path, pytester: pytest.Pytester) -> list[str]:
    """Arguments of a run one of whose limits lies a little above what was found, as the site's dtype moves it."""
    bound = load(saved)[SITE].max_abs * 1.00001
    layers = f'families:\n  qwen3: {{layers: {{"{SITE}": {{hidden: {bound!r}}}}}}}\n'
    pytester.path.joinpath("near.yaml").write_text(f"version: 1\nextends: builtin\n{layers}")
    return [f"--maxact-replay={saved}", "--maxact-limits=near.yaml", "--maxact-verdict=verdict.json"]


def test_a_warning_passes_is_counted_and_stands_in_every_report(
    near: list[str], pytester: pytest.Pytester, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_gate(
        pytester, *near, "-rP", exit=0,
        says=[": all 58 checks hold, 1 of them too close to call",
              "too close to call, the nearest layers.0.hidden::max_abs",
              "maxact: too close to call", "WARNING: layers.0.hidden: max_abs", "verdict PASS"],
        passed=58,
    )  # fmt: skip
    details = json.loads(pytester.path.joinpath("verdict.json").read_text())["predicate"][DETAILS]
    (close,) = (check for check in details["checkpoints"][0]["checks"] if check.get("too_close"))
    assert (close["check"], close["outcome"]) == (f"maxact::{SITE}::max_abs", "held")
    assert close["low"] < close["value"] < close["limit"] < close["high"]
    capsys.readouterr()
    assert main(["judge", str(saved), "--limits", "near.yaml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [told["counts"][name] for name in ("too_close", "failed", "failed_too_close")] == [1, 0, 0]
    checks = told["checkpoints"][0]["checks"]
    (one,) = (check for check in checks if check["too_close"])
    assert one["interval"]["low"] < one["value"] < one["limit"] < one["interval"]["high"]
    assert {bool(check["interval"]) for check in checks if check["metric"] == "max_abs"} == {True}


def test_asked_to_fail_it_does(
    near: list[str], pytester: pytest.Pytester, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_gate(
        pytester, *near, "--maxact-close=fail", exit=1, failed=1, passed=57,
        says=["1 of 58 checks does not hold (too close to call)", "too close to call, which fails here",
              "7.31845, too close to call ="],
    )  # fmt: skip
    capsys.readouterr()
    assert main(["judge", str(saved), "--limits", "near.yaml", "--close", "fail", "--json"]) == 1
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert [counts[name] for name in ("too_close", "failed", "failed_too_close")] == [0, 1, 1]


@pytest.mark.parametrize(("close", "outcomes"), [("warn", {"passed": 59}), ("fail", {"passed": 57, "failed": 2})])
def test_a_test_of_the_users_own_is_held_to_it_too(
    close: str, outcomes: dict[str, int], near: list[str], pytester: pytest.Pytester
) -> None:
    own = f"""
        def test_own(maxact_check):
            assert maxact_check({SITE!r}).close
        """
    pytester.makepyfile(own)
    run_gate(pytester, *near[:2], f"--maxact-close={close}", **outcomes)


def test_by_the_shipped_limits_nothing_of_a_sound_model_is_too_close(saved: Path, pytester: pytest.Pytester) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-close=fail", exit=0, lacks=["too close"])
