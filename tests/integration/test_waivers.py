"""Waivers through the whole gate: what they let pass, what they never do, and when they fail themselves."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load
from tests.support import tiny
from tests.support.gate_runs import CHECKS, run_gate

TODAY = datetime.now(timezone.utc).date()
TIGHT = "families: {qwen3: {layers: {layers.1.hidden: {hidden: 1.0}}}}"


def limits(folder: Path, *, until: int = 30, site: str = "layers.1.*", more: str = "", rest: str = TIGHT) -> Path:
    """A limits file under which one site breaches, and a waiver for it that ends in so many days."""
    path = folder / "limits.yaml"
    day = TODAY + timedelta(days=until)
    path.write_text(
        "version: 1\n"
        "extends: builtin\n"
        f"{rest}\n"
        "waive:\n"
        f"  - {{site: '{site}', reason: known outlier, owner: me@here, until: {day}{more}}}\n"
    )
    return path


def test_a_waived_breach_is_an_expected_failure_and_the_report_says_whose(
    pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={limits(tmp_path)}",
        passed=CHECKS,
        xfailed=1,
        exit=0,
        says=[
            f"{CHECKS - 1} of {CHECKS} checks hold, 1 is waived, 1 waiver holds",
            f"waived until {TODAY + timedelta(days=30)} by me@here: known outlier: layers.1.hidden: max_abs",
        ],
    )


def test_it_holds_on_its_last_day_and_not_on_the_day_after(
    pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    run_gate(
        pytester, f"--maxact-replay={saved}", f"--maxact-limits={limits(tmp_path, until=0)}", passed=CHECKS, xfailed=1
    )
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={limits(tmp_path, until=-1)}",
        passed=CHECKS - 1,
        failed=2,
        report=["FAILED maxact::layers.1.hidden::max_abs*", "FAILED maxact::waive::layers.1.[*]*"],
        says=[
            f"FAIL: 1 of {CHECKS} checks does not hold, the one waiver fails - ",
            f"the waiver for layers.1.* by me@here expired on {TODAY - timedelta(days=1)} (limits.yaml:5)",
        ],
    )


def test_one_that_nothing_needs_is_stale_and_fails(pytester: pytest.Pytester, saved: Path, tmp_path: Path) -> None:
    file = limits(tmp_path, site="layers.2.*", rest="")
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={file}",
        passed=CHECKS,
        failed=1,
        report=[
            "FAIL: the one waiver fails",
            "- the waiver for layers.2.[*] by me@here is stale, none of its checks fails*",
        ],
    )
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={file}",
        "-m",
        "maxact",
        "-k",
        "not waive",
        passed=CHECKS,
        deselected=1,
        exit=0,
        says=["PARTIAL", "not run: 1 waiver"],
        lacks=["PASS"],
    )


def test_it_is_stale_by_what_the_run_holds_and_not_by_what_was_selected(
    pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={limits(tmp_path)}",
        "maxact::waive",
        passed=1,
        deselected=CHECKS,
        report=["not run: *"],
    )


def test_a_breach_beyond_the_value_that_it_names_fails(pytester: pytest.Pytester, saved: Path, tmp_path: Path) -> None:
    value = load(saved)["layers.1.hidden"].max_abs
    enough, little = (
        limits(folder, more=f", metric: max_abs, up_to: {bound}")
        for folder, bound in ((tmp_path, value), (pytester.path, value / 2))
    )
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={enough}", passed=CHECKS, xfailed=1)
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={little}",
        "-n",
        "2",
        subprocess=True,
        passed=CHECKS,
        failed=1,
        says=[f"; beyond what the waiver of me@here lets pass, {value / 2:g} (limits.yaml:5)"],
    )


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_waivers_check_that_something_else_broke_off_has_not_passed(
    options: tuple[str, ...], pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    pytester.makeconftest("""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_call(item):
            if item.nodeid.startswith("maxact::waive"):
                raise RuntimeError("of the user's own")
        """)
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={limits(tmp_path)}",
        *options,
        subprocess=True,
        failed=1,
        passed=CHECKS - 1,
        xfailed=1,
        says=["broken off by an error outside of the gate, the first maxact::waive::layers.1.*"],
        lacks=["PASS"],
    )


def test_only_the_waiver_that_ran_is_held_against_the_run(
    pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    file = limits(tmp_path)
    stale = f"  - {{site: layers.2.hidden, metric: max_abs, reason: known, owner: me, until: {TODAY}}}\n"
    file.write_text(file.read_text() + stale)
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={file}",
        "maxact::waive::layers.1.*",
        passed=1,
        deselected=CHECKS + 1,
        exit=0,
        report=["no limit was checked"],
        lacks=["FAIL"],
    )


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_one_of_two_of_a_site_is_pasted_with_its_line_or_both_without(
    options: tuple[str, ...], pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    file = limits(tmp_path, more=", metric: max_abs")
    stale = f"  - {{site: layers.1.*, metric: int8.*, reason: known, owner: me, until: {TODAY}}}\n"
    file.write_text(
        file.read_text().replace(TIGHT, TIGHT.replace("}}}}", "}}, int8: {site: layers.1.*, min_sqnr_db: 1}}}")) + stale
    )
    common = (f"--maxact-replay={saved}", f"--maxact-limits={file}")
    listed = run_gate(pytester, *common, "--co", "-q", "-k", "waive").outlines
    both = [line for line in listed if line.startswith("maxact::waive::")]
    assert both == ["maxact::waive::layers.1.*:5", "maxact::waive::layers.1.*:6"]
    one = run_gate(pytester, *common, both[0], *options, subprocess=bool(options), passed=1)
    assert one.ret == 0
    other = run_gate(pytester, *common, both[1], *options, subprocess=bool(options), failed=1)
    assert other.ret == 1
    run_gate(pytester, *common, "maxact::waive::layers.1.*", *options, subprocess=bool(options), passed=1, failed=1)
    run_gate(pytester, *common, "maxact::waive::layers.1.*:7", *options, refuses="no check called maxact::waive::")


def test_a_metric_that_it_does_not_name_still_fails(pytester: pytest.Pytester, saved: Path, tmp_path: Path) -> None:
    file = limits(
        tmp_path,
        more=", metric: 'int8.*'",
        rest=TIGHT.replace("}}}}", "}}, int8: {site: layers.1.*, min_sqnr_db: 99}}}"),
    )
    result = run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={file}",
        report=["FAILED maxact::layers.1.hidden::max_abs*"],
    )
    assert result.parseoutcomes()["xfailed"] == 4


def test_what_is_not_finite_is_never_waived(pytester: pytest.Pytester, corpus: Path, tmp_path: Path) -> None:
    model = tiny.random_model("qwen3")
    with torch.no_grad():
        model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    broken = tiny.save(tmp_path / "broken", model)
    file = limits(tmp_path, site="*", more=", metric: '*', everything: true")
    result = run_gate(pytester, f"--maxact-model={broken}", f"--maxact-corpus={corpus}", f"--maxact-limits={file}")
    assert "xfailed" not in result.parseoutcomes()
    assert result.parseoutcomes()["failed"] > 5


def test_one_that_matches_no_check_is_refused(pytester: pytest.Pytester, saved: Path, tmp_path: Path) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={limits(tmp_path, site='layers.9.*')}",
        exit=4,
        complaints=["ERROR: *limits.yaml:5: this waiver (layers.9.[*], [*]) matches no check of this run"],
    )


def test_the_command_says_and_exits_alike(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", str(saved), "--limits", str(limits(tmp_path))]) == 0
    assert "1 is waived" in capsys.readouterr().out
    assert main(["judge", str(saved), "--limits", str(limits(tmp_path, until=-1)), "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)["waivers"]
    assert told["outcome"] == "does not hold"
    assert told["fault"].startswith("the waiver for layers.1.* by me@here expired")


def test_in_a_series_one_is_needed_by_the_checkpoint_that_it_names(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, tmp_path: Path
) -> None:
    for step in (1, 2):
        tiny.save(tmp_path / "run" / f"step-{step}", tiny.random_model("qwen3"))
    options = (f"--maxact-model={tmp_path}/run/step-*", f"--maxact-corpus={corpus}")
    result = run_gate(pytester, *options, f"--maxact-limits={limits(tmp_path, more=', checkpoint: step-1')}")
    assert result.parseoutcomes()["xfailed"] == 1
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(
        ["step-1 *1 waived", "step-2 *1 FAIL", "FAILED maxact::step-2::layers.1.hidden::max_abs*"]
    )


def test_alone_a_checkpoint_answers_to_the_name_of_its_folder_and_others_waivers_are_left_aside(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, tmp_path: Path
) -> None:
    options = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}")
    run_gate(
        pytester, *options, f"--maxact-limits={limits(tmp_path, more=', checkpoint: qwen3')}", passed=CHECKS, xfailed=1
    )
    run_gate(
        pytester,
        *options,
        f"--maxact-limits={limits(tmp_path, more=', checkpoint: checkpoint-5*')}",
        passed=CHECKS - 1,
        failed=1,
    )


def test_one_about_everything_or_for_long_says_so_right_below_the_verdict(
    pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    file = limits(tmp_path, site="layers.*", more=", everything: true")
    remark = f"WARNING: me@here waives every site (layers.*, *) until {TODAY + timedelta(days=30)}: known outlier"
    result = run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={file}", says=[remark])
    lines = result.outlines
    verdict = next(place for place, line in enumerate(lines) if line.startswith(("PASS", "FAIL")))
    assert verdict < lines.index(remark) < next(place for place, line in enumerate(lines) if line.startswith("model "))
    file = limits(tmp_path, until=500, rest=f"{TIGHT}\nmax_waiver_days: 600")
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={file}",
        says=["WARNING: me@here waives layers.1.*, * until"],
    )
