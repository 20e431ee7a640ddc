"""A process that is forked off a warm one is told from one of its own by nothing but the time it takes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ASKED = {
    "what it was given": "import os, sys; print(sys.argv, os.getcwd(), os.environ['OF_MINE'], sys.stdin.read())",
    "where it imports from": "import sys; print([entry for entry in sys.path if 'support' in entry])",
    "a file of the folder": "import mine; print(mine.__name__)",
    "its main module": "import sys; print(__name__, sys.modules['__main__'].__dict__ is globals())",
    "its streams": "import os, sys; os.write(1, b'one '); print('two'); print('ä\\udc80', file=sys.stderr)",
    "a status": "raise SystemExit(7)",
    "words in place of one": "raise SystemExit('no')",
    "an end without a word": "import os; os._exit(9)",
    "an error": "1 / 0",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "what is done at the end": "import atexit; atexit.register(print, 'done')",
    "a thread that goes on": "import threading, time; threading.Timer(0.05, print, ['later']).start()",
    "nothing of what is tested": "import sys; print({'pytest_maxact'} & {*sys.modules})",
}


@pytest.mark.parametrize("code", ASKED.values(), ids=ASKED)
def test_it_does_what_a_process_of_its_own_does(code: str, warm_python: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    given = {**os.environ, "OF_MINE": "here", "PYTHONIOENCODING": "utf-8"}
    told = []
    for python in (sys.executable, str(warm_python)):
        command = [python, "-c", code, "first", "--second"]
        done = subprocess.run(
            command, cwd=tmp_path, env=given, input="typed", text=True, capture_output=True, timeout=60
        )
        lines = done.stderr.splitlines()
        told.append((done.returncode, done.stdout, lines[-1:] if "Traceback" in done.stderr else lines))
    assert told[0] == told[1]


def test_a_module_runs_as_the_main_one_beside_the_files_of_its_folder(warm_python: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys; print(__name__, sys.argv[1:], sys.path[0])")
    for option in (["-m", "mine"], ["-mmine"]):
        done = subprocess.run([warm_python, *option, "x"], cwd=tmp_path, text=True, capture_output=True, check=True)
        assert done.stdout == f"__main__ ['x'] {tmp_path}\n"


def test_it_has_imported_what_takes_long(warm_python: Path) -> None:
    code = "import sys; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([warm_python, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout == "True True\n"


def test_it_dies_with_the_process_that_stands_for_it(warm_python: Path, tmp_path: Path) -> None:
    code = "import os, time; open('pid', 'w').write(str(os.getpid()) + '\\n'); time.sleep(60)"
    with subprocess.Popen([warm_python, "-c", code], cwd=tmp_path) as process:
        until = time.monotonic() + 30
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith("\n"):
            assert time.monotonic() < until
            time.sleep(0.01)
        process.kill()
    pid = int((tmp_path / "pid").read_text())
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("it goes on")
