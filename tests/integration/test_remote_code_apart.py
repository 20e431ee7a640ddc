"""Code that comes with the weights, opted in, runs apart: however it ends, the gate and the command tell so."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import remote_code
from tests.support.gate_runs import run_gate

pytestmark = pytest.mark.usefixtures("warm_children")
TRUST = "--maxact-trust-remote-code"


def broken(folder: Path, file: str, before: str, by: str = "import os; os._exit(0)") -> Path:
    """A checkpoint whose code ends its process before a line of it."""
    remote_code.write(folder)
    code = (folder / file).read_text()
    (line,) = [line for line in code.splitlines() if line.strip() == before][:1]
    indent = line[: len(line) - len(line.lstrip())]
    (folder / file).write_text(code.replace(line, f"{indent}{by}\n{line}", 1))
    return folder


def test_code_that_ends_its_process_while_it_is_opened_is_a_usage_error(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    folder = broken(tmp_path / "ling", "configuration_bailing_moe.py", "class BailingMoeConfig(PreTrainedConfig):")
    words = "the code that comes with the weights broke the run off: its process ended with exit status 0"
    run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}", TRUST, refuses=words)


def test_code_that_ends_its_process_in_the_pass_fails_every_check_once_tried(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    note = tmp_path / "passes"
    by = f"open({str(note)!r}, 'a').write('pass '); import os; os._exit(0)"
    line = "q, k, v = self.query_key_value(x).chunk(3, dim=-1)"
    folder = broken(tmp_path / "ling", "modeling_bailing_moe.py", line, by)
    options = (f"--maxact-model={folder}", f"--maxact-corpus={corpus}", TRUST, "--maxact-family=generic")
    result = run_gate(
        pytester, *options, exit=1, says=["FAIL: could not measure: the code that comes with the weights"]
    )
    assert result.parseoutcomes().keys() == {"errors"}
    assert note.read_text() == "pass "


def test_what_it_gives_is_measured_and_judged(pytester: pytest.Pytester, corpus: Path, tmp_path: Path) -> None:
    folder = remote_code.write(tmp_path / "ling")
    options = (f"--maxact-model={folder}", f"--maxact-corpus={corpus}", TRUST, "--maxact-family=generic")
    run_gate(pytester, *options, "--maxact-save=run.safetensors", "--maxact-max-samples=6", exit=0, says=["PASS"])
    assert (pytester.path / "run.safetensors").is_file()


def test_a_command_fails_where_its_process_was_ended(corpus: Path, tmp_path: Path) -> None:
    folder = broken(tmp_path / "ling", "configuration_bailing_moe.py", "class BailingMoeConfig(PreTrainedConfig):")
    record = tmp_path / "run.safetensors"
    options = ["measure", str(folder), "-o", str(record), "--corpus", str(corpus), "--trust-remote-code"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest_maxact.cli", *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "the code that comes with the weights broke the run off" in done.stderr
    assert not record.exists()
