"""`--maxact-update`: a run writes limits, which the next run is judged by."""

import re
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.suggest.propose import Proposal
from tests.support import tiny
from tests.support.gate_runs import CHECKS, FROM_BELOW, run_gate


@pytest.fixture(autouse=True)
def _on_a_workstation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def test_a_first_run_writes_limits_that_hold_the_next_one(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-limits=mine.yaml",
        "--maxact-update=new",
        passed=CHECKS,
        report=["--- /dev/null", "+++ mine.yaml", "mine.yaml: written; review it, and commit it"],
    )
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-limits=mine.yaml",
        passed=CHECKS,
        says=["limits family qwen3, shape"],
    )
    text = (pytester.path / "mine.yaml").read_text()
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-limits=mine.yaml",
        "--maxact-update=all",
        passed=CHECKS,
        report=["mine.yaml: nothing to change"],
    )
    assert (pytester.path / "mine.yaml").read_text() == text


def test_a_family_that_nobody_knows_gets_its_first_limits(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    model = tiny.save(tmp_path / "llama", tiny.random_model("llama"))
    options = (f"--maxact-model={model}", f"--maxact-corpus={corpus}", "--maxact-limits=mine.yaml")
    run_gate(
        pytester, *options, "--maxact-update=new", exit=0, report=["limits *generic: *", "+*model_types: [[]llama[]]"]
    )
    run_gate(pytester, *options, passed=CHECKS - FROM_BELOW)


def test_a_breach_fails_this_run_and_all_sets_the_limit_for_the_next(
    pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-limits=mine.yaml", "--maxact-update=new")
    file = pytester.path / "mine.yaml"
    file.write_text(re.sub(r"([{ ]hidden): [0-9.]+", r"\1: 0.5", file.read_text()))
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-limits=mine.yaml",
        "--maxact-update=new",
        exit=1,
        report=["FAIL: 3 of * checks do not hold", "- no limits were written:*"],
    )
    refused = run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-limits=mine.yaml",
        "--maxact-update=all",
        exit=1,
        report=["- no limits were written:*"],
    )
    assert not re.search("--(update|maxact-update|maxact-loosen)", refused.stdout.str()), (
        "a report that fails advises nothing that loosens"
    )
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-limits=mine.yaml",
        "--maxact-update=all",
        "--maxact-loosen",
        exit=1,
        report=[
            "LOOSENED: hidden 0.625 -> * (3 sites, the first layers.0.hidden)",
            "note: * checks of this run did not hold, and these limits accept what it measured",
        ],
    )
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-limits=mine.yaml", passed=CHECKS)


def test_under_xdist_limits_are_written_once(pytester: pytest.Pytester, checkpoint: Path, corpus: Path) -> None:
    options = (
        f"--maxact-model={checkpoint}",
        f"--maxact-corpus={corpus}",
        "--maxact-limits=mine.yaml",
        "--maxact-update=new",
        "-n",
        "2",
    )
    result = run_gate(pytester, *options, subprocess=True, passed=CHECKS)
    assert result.stdout.str().count("mine.yaml: written") == 1


def test_limits_that_cannot_be_written_fail_the_run(
    pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Proposal) -> None:
        raise InputError("mine.yaml cannot be written: no space left\n  make room")

    monkeypatch.setattr(Proposal, "write", full)
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-limits=mine.yaml",
        "--maxact-update=new",
        passed=CHECKS,
        exit=1,
        report=["FAIL: no limits were written: mine.yaml cannot be written: no space left"],
        lacks=["PASS"],
    )


def test_nothing_measured_writes_nothing(pytester: pytest.Pytester, checkpoint: Path, corpus: Path) -> None:
    options = (
        f"--maxact-model={checkpoint}",
        f"--maxact-corpus={corpus}",
        "--maxact-limits=mine.yaml",
        "--maxact-update=new",
    )
    run_gate(
        pytester,
        *options,
        "-k",
        "nothing_at_all",
        report=["maxact: no limits were written: nothing was measured, so there is no evidence for limits"],
    )
    assert not (pytester.path / "mine.yaml").exists()
    run_gate(pytester, *options, "--co")
    assert not (pytester.path / "mine.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--maxact-update=new", "--maxact-limits=nowhere/mine.yaml"],
            "*limits* cannot be written to nowhere/mine.yaml*",
        ),
        (["--maxact-update=new"], "--maxact-update writes to a limits file of yours"),
        (
            ["--maxact-update=new", "--maxact-limits={builtin}"],
            "* holds the shipped limits, which stay as they were published",
        ),
    ],
)
def test_where_to_write_must_be_said(arguments: list[str], words: str, pytester: pytest.Pytester, saved: Path) -> None:
    from pytest_maxact.judge.limits.file import builtin_path

    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        *(argument.format(builtin=builtin_path()) for argument in arguments),
        exit=4,
        complaints=[f"ERROR: {words}"],
    )


def test_it_is_refused_in_ci(pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-limits=mine.yaml",
        "--maxact-update=all",
        exit=4,
        complaints=["ERROR: --maxact-update is refused in CI (CI=true): limits are changed by a person, and reviewed"],
    )


def test_it_is_refused_in_an_ini_file(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeini("[pytest]\nmaxact_update = all\n")
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        exit=4,
        complaints=["ERROR: maxact_update in an ini file would rewrite limits at every run"],
    )


def test_limits_much_wider_than_what_was_found_get_a_notice_and_no_failure(
    pytester: pytest.Pytester, saved: Path
) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        passed=CHECKS,
        exit=0,
        says=[
            "limits lie more than 4 times above what was found (the widest: ",
            f"to tighten them: maxact suggest {saved} --limits FILE --update all",
        ],
    )
