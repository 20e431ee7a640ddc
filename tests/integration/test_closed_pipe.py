"""A run of which nobody reads what it prints, as under `| head -1`: no traceback, no exit code of a pass, and files
that say what was judged, or that nothing was.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WHOLE = ("-p", "no:terminal")
"""With these nothing is printed before all is judged."""


@pytest.mark.parametrize("options", [(), ("-q",), WHOLE, ("-n", "2")], ids=" ".join)
def test_its_files_say_what_became_of_it(
    options: tuple[str, ...], saved: Path, pytester: pytest.Pytester, warm_children: Path
) -> None:
    read, write = os.pipe()
    os.close(read)
    asked = ("--maxact-json-report=run.json", "--maxact-verdict=verdict.json", "--maxact-github=on")
    command = [sys.executable, "-m", "pytest", f"--maxact-replay={saved}", "-p", "no:cacheprovider", *asked, *options]
    summary = pytester.path / "summary.md"
    run = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, cwd=pytester.path,
        env={**os.environ, "GITHUB_STEP_SUMMARY": str(summary)},
    )  # fmt: skip
    os.close(write)
    assert run.returncode == 1, run.stderr
    assert "maxact: nobody reads on what this run prints" in run.stderr
    assert "Traceback" not in run.stderr
    assert "not written" not in run.stderr
    report = json.loads((pytester.path / "run.json").read_text())
    assert (report["verdict"] == "PASS") is (options == WHOLE)
    assert f'"verdict": "{report["verdict"]}"' in (pytester.path / "verdict.json").read_text()
    assert summary.read_text().count("## maxact: ") == 1
    assert ("## maxact: PASS" in summary.read_text()) is (options == WHOLE)
