"""Work in a process apart: what comes back, and what its end means, whoever ended it."""

import math
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_maxact.errors import InputError, MeasureError, marked
from pytest_maxact.gate import apart

ENDS = {
    "os._exit(0)": "ended with exit status 0 before the work was done",
    "os._exit(3)": "ended with exit status 3 before the work was done",
    "os.kill(os.getpid(), signal.SIGSEGV)": "ended by SIGSEGV before",
    "os.kill(os.getpid(), signal.SIGKILL)": "ended by SIGKILL before",
    "sys.exit(0)": "the measurement ended in SystemExit: 0",
    "raise RuntimeError('out of memory')": "the measurement ended in RuntimeError: out of memory",
    "threading.Thread(target=time.sleep, args=(60,)).start()": "did not end within 0.5 s of its work",
    "atexit.register(time.sleep, 60)": "did not end within 0.5 s of its work",
    "atexit.register(os._exit, 5)": "ended with exit status 5",
}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to write a module `errands` whose `work` is done apart."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "errands.py"


def done(work: Path, body: str, tick: apart.Tick | None = None) -> str:
    """What the work left, after it was done."""
    work.write_text(
        dedent("""
        import atexit, os, signal, subprocess, sys, threading, time
        from pathlib import Path
        from pytest_maxact.errors import InputError, MeasureError
        from pytest_maxact.gate import apart

        def run_apart(folder, parent):
            apart.told_apart(Path(folder), parent, lambda: work(Path(folder)))

        def work(folder):
            (folder / "left").write_text("whole")
        """)
        + "".join(f"    {line}\n" for line in body.splitlines())
    )
    with apart.room() as folder:
        apart.run("errands", folder, tick)
        return (folder / "left").read_text()


def test_what_it_leaves_is_there(work: Path) -> None:
    assert done(work, "pass") == "whole"


@pytest.mark.parametrize("end", ENDS)
def test_an_end_that_nobody_ordered_is_a_failure_within_seconds(
    end: str, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "GRACE", 0.5)
    start = time.monotonic()
    with pytest.raises(MeasureError, match=ENDS[end].replace("(", r"\(")):
        done(work, end)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("kind", [InputError, MeasureError])
def test_what_was_raised_on_purpose_is_raised_here(kind: type[Exception], work: Path) -> None:
    with pytest.raises(kind) as caught:
        done(work, f"raise {kind.__name__}('what\\n  how')".replace("\n", "\\n"))
    assert marked(caught.value) == "what\n  how"


def test_progress_is_told(work: Path) -> None:
    told: list[tuple[str, int, int, float]] = []
    done(
        work,
        "apart.ticking(folder)('measuring', 3, 9, float('inf'))\ntime.sleep(0.5)",
        lambda *progress: told.append(progress),
    )
    assert told == [("measuring", 3, 9, math.inf)]


def test_what_it_started_ends_with_it(work: Path, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    done(work, f"Path({str(note)!r}).write_text(str(subprocess.Popen(['sleep', '60']).pid))")
    pid = int(note.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_ends_with_who_started_it(work: Path, tmp_path: Path) -> None:
    with pytest.raises(MeasureError):
        done(work, "os._exit(0)")  # writes the module
    text = work.read_text().replace(
        "os._exit(0)", f"Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n    time.sleep(60)"
    )
    work.write_text(text)
    code = "import sys, tempfile; from pathlib import Path; from pytest_maxact.gate import apart\n"
    code += "sys.path.insert(0, sys.argv[1]); apart.run('errands', Path(tempfile.mkdtemp()))"
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
