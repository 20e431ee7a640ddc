"""Where torch or transformers cannot be imported, what needs them says so in a line, with the code of a bad request,
and what judges Records goes on.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gate_runs import CHECKS

pytestmark = pytest.mark.usefixtures("cold")
FAULTS = {
    "missing": ("torch", "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"),
    "broken": ("torch", "raise OSError('libtorch_cpu.so: cannot open shared object file')"),
    "of another build": ("torch", "raise ImportError('undefined symbol: iJIT_NotifyEvent')"),
    "too old": ("torch", "__version__ = '1.0'"),
    "without transformers": ("transformers", "raise ImportError('tokenizers>=0.22 is required')"),
    "with half of transformers": ("transformers", "__path__ = []"),
}
SAYS = {
    "missing": ["torch cannot be imported (No module named 'torch')", "install torch into the Python that runs this"],
    "broken": ["torch cannot be imported (libtorch_cpu.so: cannot open shared object file)", "install versions that"],
    "of another build": ["torch cannot be imported (undefined symbol: iJIT_NotifyEvent)"],
    "too old": ["cannot be imported"],
    "without transformers": ["transformers cannot be imported (tokenizers>=0.22 is required)"],
    "with half of transformers": ["transformers cannot be imported (No module named 'transformers.models')"],
}
COMMANDS = """
import sys
from pytest_maxact.cli import main
for command in {commands!r}:
    print(main(command), file=sys.stderr)
"""


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    library, body = FAULTS[request.param]
    (tmp_path / "faulty" / library).mkdir(parents=True)
    (tmp_path / "faulty" / library / "__init__.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "faulty"), *sys.path]))
    return str(request.param)


def ran(commands: list[list[str]]) -> "subprocess.CompletedProcess[str]":
    code = COMMANDS.format(commands=commands)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_what_opens_a_checkpoint_says_so_with_the_code_of_a_bad_request(
    fault: str, checkpoint: Path, tmp_path: Path
) -> None:
    model = str(checkpoint)
    run = ran([["measure", model, "-o", str(tmp_path / "r")], ["sites", model], ["weights", model]])
    *said, last = run.stderr.split("\n4\n")
    assert (len(said), last) == (3, "")
    for text in said:
        assert text.startswith("maxact: ")
        assert len(text.splitlines()) == 2
        assert all(words in text for words in SAYS[fault])


@pytest.mark.parametrize("fault", ["missing", "broken"], indirect=True)
def test_the_gate_is_a_usage_error_in_a_line(fault: str, pytester: pytest.Pytester, checkpoint: Path) -> None:
    run = pytester.runpytest_subprocess(f"--maxact-model={checkpoint}")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    complaint = [line for line in run.stderr.lines if line]
    assert complaint[0].startswith("ERROR: ")
    assert len(complaint) == 2
    assert all(words in run.stderr.str() for words in SAYS[fault])


@pytest.mark.parametrize("fault", ["broken"], indirect=True)
def test_records_are_judged_shown_and_compared_all_the_same(
    fault: str, pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    record = str(saved)
    commands = [
        ["judge", record, "--verdict", str(tmp_path / "v.json")],
        ["show", record],
        ["compare", record, record],
        ["suggest", record],
        ["series", record],
    ]
    run = ran(commands)
    assert "cannot be imported" not in run.stderr
    assert [line for line in run.stderr.splitlines() if line.isdigit()] == ["0"] * len(commands)
    pytester.runpytest_subprocess(f"--maxact-replay={saved}").assert_outcomes(passed=CHECKS)


@pytest.mark.parametrize("fault", ["missing"], indirect=True)
def test_who_asks_for_no_gate_is_asked_for_no_torch(fault: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
