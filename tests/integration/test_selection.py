"""Checks are selected as any test is: by id, by -k, by what failed last, alone or on workers."""

from pathlib import Path

import pytest

from tests.support.gate_runs import CHECKS, run_gate


def test_collect_only_lists_every_check_and_loads_no_weights(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_maxact.measure.run.load", lambda *args: pytest.fail("weights were loaded"))
    result = run_gate(pytester, f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--co", "-q")
    listed = [line for line in result.outlines if line.startswith("maxact::")]
    assert len(listed) == CHECKS
    assert {
        "maxact::embedding::max_abs",
        "maxact::layers.2.attn_output::nonfinite",
        "maxact::carrier::int8.max_abs.sqnr_db",
    } <= set(listed)


def test_k_selects_by_site_and_metric(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", "-k", "layers.1.hidden and max_abs", passed=2, deselected=CHECKS - 2)


def test_a_failing_id_can_be_pasted_alone_or_beside_a_path(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    pytester.makepyfile(test_own="def test_own(): pass")
    common = (f"--maxact-replay={saved}", f"--maxact-limits={tight}")
    result = run_gate(pytester, *common, failed=1, passed=CHECKS)
    (line,) = [line for line in result.outlines if line.startswith("FAILED")]
    name = line.split()[1]
    assert name == "maxact::layers.1.hidden::max_abs"
    run_gate(pytester, *common, name, failed=1, deselected=CHECKS - 1)
    run_gate(pytester, *common, "maxact::layers.1.hidden", failed=1, passed=4, deselected=CHECKS - 5)
    run_gate(pytester, *common, name, "test_own.py", failed=1, passed=1, deselected=CHECKS - 1)
    run_gate(pytester, *common, f"../{name}", failed=1, deselected=CHECKS - 1)
    pytester.mkdir("maxact").joinpath("test_theirs.py").write_text("def test_theirs(): pass")
    run_gate(pytester, *common, name, failed=1, deselected=CHECKS - 1)
    run_gate(pytester, *common, "maxact", failed=1, passed=CHECKS)


def test_a_pasted_id_that_does_not_exist_is_a_usage_error(pytester: pytest.Pytester, saved: Path) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", "maxact::layers.9.hidden::max_abs")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*no check called maxact::layers.9.hidden::max_abs; list them with --co*"])


def test_last_failed_reruns_the_breach_only(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    common = (f"--maxact-replay={saved}", f"--maxact-limits={tight}")
    run_gate(pytester, *common, failed=1, passed=CHECKS - 1)
    run_gate(pytester, *common, "--lf", failed=1, deselected=CHECKS - 1)


def test_exit_first_stops_at_the_breach(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", "-x")
    assert result.ret == 2 or result.ret == 1
    assert result.parseoutcomes()["failed"] == 1
    assert result.parseoutcomes()["passed"] < CHECKS - 1


def test_xdist_honours_a_pasted_id(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makepyfile(test_own="def test_own(): pass")
    result = pytester.runpytest_subprocess(f"--maxact-replay={saved}", "-n", "2", "maxact::layers.1.hidden")
    result.assert_outcomes(passed=5)


def test_no_tests_of_the_gate_run_no_report(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makepyfile("def test_own(): pass")
    result = run_gate(pytester, f"--maxact-replay={saved}", "-m", "not maxact", passed=1)
    assert "PASS" not in result.stdout.str()


def test_the_report_of_a_part_says_so(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    result = run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={tight}",
        "-k",
        "embedding",
        passed=4,
        deselected=CHECKS - 4,
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*all 4 checks that ran hold*", f"not run: {CHECKS - 4} checks, of which 1 would fail"]
    )


def test_a_conftest_that_skips_what_it_does_not_know_does_not_skip_the_gate(
    pytester: pytest.Pytester, saved: Path, tight: Path
) -> None:
    pytester.makeconftest("""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.skip(reason="not one of ours"))
        """)
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", failed=1, passed=CHECKS - 1)


def test_a_gate_of_which_nothing_ran_says_so(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makepyfile("def test_own(): pass")
    result = run_gate(pytester, f"--maxact-replay={saved}", "-k", "test_own", passed=1, deselected=CHECKS)
    result.stdout.fnmatch_lines([f"maxact: none of the {CHECKS} checks of * was run"])


def test_a_pasted_id_that_does_not_exist_is_a_usage_error_under_xdist_too(
    pytester: pytest.Pytester, saved: Path
) -> None:
    result = pytester.runpytest_subprocess(f"--maxact-replay={saved}", "-n", "2", "maxact::typo")
    assert result.ret == 4
    assert "no check called maxact::typo" in result.stderr.str()
