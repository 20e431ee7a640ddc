"""A run that names its tests runs these, and leaves out a gate that only the ini file asks for; it says so. A run of
folders, or without names, and one that asks for the gate where it is started, runs the gate.
"""

from pathlib import Path

import pytest

from pytest_maxact.plugin.opening import is_left_out
from tests.support.gate_runs import CHECKS, run_gate

LEFT_OUT = "maxact: this run names its tests, and leaves out the gate of the ini file; with --maxact-model both run"
TESTS = "def test_a(): pass\ndef test_b(): pass\n"


@pytest.fixture
def project(pytester: pytest.Pytester, saved: Path, tight: Path) -> pytest.Pytester:
    """Two tests of its own that pass, and a gate of which one check fails."""
    (pytester.path / "tests").mkdir()
    (pytester.path / "tests" / "test_own.py").write_text(TESTS)
    (pytester.path / "pytest.ini").write_text(f"[pytest]\nmaxact_replay = {saved}\nmaxact_limits = {tight}")
    return pytester


@pytest.fixture
def no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_maxact.gate.session.open_run", lambda *args: pytest.fail("a gate was opened"))


@pytest.mark.usefixtures("no_gate")
@pytest.mark.parametrize(
    ("names", "ran"),
    [
        (["tests/test_own.py::test_a"], 1),
        (["tests/test_own.py"], 2),
        (["tests/test_own.py", "-k", "test_b"], 1),
    ],
)
def test_a_run_that_names_its_tests_runs_these(names: list[str], ran: int, project: pytest.Pytester) -> None:
    result = run_gate(project, *names, exit=0, passed=ran, report=[LEFT_OUT])
    assert result.stdout.str().count("maxact: ") == 1


@pytest.mark.usefixtures("no_gate")
@pytest.mark.parametrize("option", ["-q", "--no-header"])
def test_where_there_is_no_header_it_is_said_at_the_end(option: str, project: pytest.Pytester) -> None:
    result = run_gate(project, "tests/test_own.py", option, exit=0, report=[LEFT_OUT])
    assert result.stdout.str().count("maxact: ") == 1


@pytest.mark.usefixtures("no_gate")
def test_a_test_of_it_that_fails_fails_the_run(project: pytest.Pytester) -> None:
    (project.path / "tests" / "test_own.py").write_text("def test_a(): assert False\n")
    run_gate(project, "tests/test_own.py", exit=1, failed=1)


@pytest.mark.usefixtures("no_gate")
def test_a_verdict_of_an_earlier_run_stays_where_none_is_made(project: pytest.Pytester) -> None:
    (project.path / "pytest.ini").write_text("[pytest]\nmaxact_replay = r\nmaxact_verdict = v.json")
    (project.path / "v.json").write_text("{}")
    run_gate(project, "tests/test_own.py", exit=0, passed=2)
    assert (project.path / "v.json").read_text() == "{}"


def left_out(project: pytest.Pytester, *arguments: str) -> bool:
    return is_left_out(project.parseconfig(*arguments))


ASKED = """

.
tests
tests/
tests/test_own.py tests
-k test_a
--lf
maxact
tests/test_own.py maxact::embedding
../maxact::embedding tests/test_own.py
--pyargs tests
--pyargs tests.test_own
tests/test_own.py --maxact-family=qwen3
tests/test_own.py -o maxact_family=qwen3
tests/test_own.py::test_a --maxact-replay=r
tests/test_own.py --maxact-strict
--maxact-verdict=v.json
"""
NAMED = """
tests/test_own.py
tests/test_own.py::test_a
tests/test_own.py::Test::test_a[maxact]
tests/missing.py
--pyargs tests/test_own.py
--pyargs tests.test_own::test_a
tests/test_own.py --lf -x -o junit_family=x
"""


@pytest.mark.parametrize("arguments", ASKED.splitlines()[1:])
def test_a_gate_that_is_asked_for_is_never_left_out(arguments: str, project: pytest.Pytester) -> None:
    assert not left_out(project, *arguments.split())


@pytest.mark.parametrize("arguments", NAMED.split("\n")[1:-1])
def test_a_gate_that_only_the_ini_file_asks_for_is(arguments: str, project: pytest.Pytester) -> None:
    assert left_out(project, *arguments.split())
    (project.path / "pytest.ini").write_text("[pytest]\naddopts = --maxact-replay=r")
    assert left_out(project, *arguments.split())


def test_both_run_where_names_stand_beside_the_option(project: pytest.Pytester, saved: Path) -> None:
    names = ("tests/test_own.py::test_a", f"--maxact-replay={saved}")
    run_gate(project, *names, exit=1, failed=1, passed=CHECKS, lacks=[LEFT_OUT])
    run_gate(project, "tests", exit=1, failed=1, passed=CHECKS + 1, lacks=[LEFT_OUT])


def test_names_that_were_not_typed_leave_nothing_out(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    ini = project.path / "pytest.ini"
    asking = ini.read_text()
    for more in ("addopts = tests/test_own.py", "testpaths = tests/test_own.py"):
        ini.write_text(f"{asking}\n{more}")
        assert not left_out(project)
        assert not left_out(project, "tests/test_own.py") or "testpaths" in more
    ini.write_text(asking)
    monkeypatch.setenv("PYTEST_ADDOPTS", "tests/test_own.py")
    assert not left_out(project)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--maxact-replay=r")
    assert not left_out(project, "tests/test_own.py")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:cacheprovider")
    assert left_out(project, "tests/test_own.py")


def test_a_check_beside_the_names_is_run(project: pytest.Pytester) -> None:
    run_gate(project, "tests/test_own.py", "maxact::embedding", exit=0, passed=6, lacks=[LEFT_OUT])


def test_what_is_wrong_with_the_ini_file_is_told_all_the_same(project: pytest.Pytester) -> None:
    (project.path / "pytest.ini").write_text("[pytest]\nmaxact_replay = r\nmaxact_limts = l")
    run_gate(project, "tests/test_own.py", refuses="no key called maxact_limts")


ASKING = "def test_calm(maxact_record): assert maxact_record.carrier.max_abs > 0\n"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_named_test_that_asks_for_the_record_has_it(workers: int, project: pytest.Pytester) -> None:
    (project.path / "tests" / "test_own.py").write_text(ASKING + TESTS)
    options = ("-n", str(workers)) if workers else ()
    run_gate(
        project, "tests/test_own.py", *options, exit=0, passed=3, report=[LEFT_OUT], subprocess=bool(workers),
        lacks=["PASS", "FAIL"],
    )  # fmt: skip


def test_a_check_of_its_own_is_held_to_the_limits(project: pytest.Pytester) -> None:
    (project.path / "tests" / "test_own.py").write_text(
        'def test_calm(maxact_check): maxact_check("layers.1.hidden")\n'
        'def test_dynamic(request): request.getfixturevalue("maxact_check")("layers.0.hidden")\n'
    )
    run_gate(project, "tests/test_own.py", exit=1, failed=1, passed=1, report=[LEFT_OUT])


def test_a_named_test_runs_once_per_checkpoint_of_a_series(project: pytest.Pytester, saved: Path) -> None:
    for step in (1, 2):
        (project.path / f"checkpoint-{step}.safetensors").write_bytes(saved.read_bytes())
    (project.path / "pytest.ini").write_text("[pytest]\nmaxact_replay = checkpoint-*.safetensors")
    (project.path / "tests" / "test_own.py").write_text(ASKING)
    run_gate(project, "tests/test_own.py", "-v", exit=0, passed=2, report=["*test_calm?checkpoint-2* PASSED*"])


def test_a_gate_that_cannot_be_opened_for_a_named_test_is_a_usage_error(project: pytest.Pytester) -> None:
    (project.path / "pytest.ini").write_text("[pytest]\nmaxact_replay = missing")
    (project.path / "tests" / "test_own.py").write_text(ASKING + ASKING.replace("calm", "quiet"))
    result = run_gate(project, "tests/test_own.py", refuses="no Record at")
    assert result.stderr.str().count("no Record at") == 1
    (project.path / "tests" / "test_own.py").write_text(
        'def test_dynamic(request): request.getfixturevalue("maxact_record")\n'
    )
    run_gate(project, "tests/test_own.py", exit=1, errors=0, failed=1, says=["no Record at"])
