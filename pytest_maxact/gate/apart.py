"""Code that comes with the weights runs in a process apart: what it was asked to do goes in by a file, and comes out by
files, whole or not at all. No torch, and nothing of its objects.

Guards that an end that nobody ordered (an exit whatever its status, a crash, a kill, an exit that hangs) is a failure,
told within seconds, and never the end of the gate.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from pytest_maxact.errors import InputError, MaxactError, MeasureError, first_line, marked

DONE, FAILED, PROGRESS = "done", "failed.json", "progress.json"
GRACE = 15.0
"""Seconds that a process has to end after it said that it is done."""

_START = (
    "import importlib, json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "importlib.import_module(sys.argv[2]).run_apart(sys.argv[3], int(sys.argv[4]))"
)

Tick = Callable[[str, int, int, float], None]
"""As the progress of a measurement is told."""


@contextmanager
def room() -> Iterator[Path]:
    """A folder for what goes in and comes out, for as long as that takes."""
    with TemporaryDirectory(prefix="pytest-maxact-") as folder:
        yield Path(folder)


def run(module: str, folder: Path, tick: Tick | None = None) -> None:
    """Have `module.run_apart` do in a process of its own what was left in `folder`, its progress told to `tick`. Raises
    what it raised on purpose, and MeasureError where it ended otherwise than it should.
    """
    arguments = [json.dumps(sys.path), module, str(folder), str(os.getpid())]
    process = subprocess.Popen(
        [sys.executable, "-c", _START, *arguments], stdin=subprocess.DEVNULL, start_new_session=True
    )
    hung = False
    try:
        hung = not _ended(process, folder, tick)
    finally:
        _end(process)
    if (folder / FAILED).is_file():
        told = json.loads((folder / FAILED).read_text(encoding="utf-8"))
        raise (InputError if told["kind"] == "InputError" else MeasureError)(str(told["text"]))
    if hung:
        raise _unordered(f"its process did not end within {GRACE:g} s of its work")
    if process.returncode or not (folder / DONE).is_file():
        raise _unordered(f"its process ended {_how(process.returncode)} before the work was done")


def told_apart(folder: Path, parent: int, work: Callable[[], object]) -> None:
    """In the process apart: do the work, and say how it ended, last of all. Ends where the parent does."""
    Thread(target=_follow, args=(parent,), daemon=True).start()
    try:
        work()
    except BaseException as error:
        kind = "InputError" if isinstance(error, InputError) else "MeasureError"
        text = marked(error) if isinstance(error, MaxactError) else _words(error)
        _put(folder / FAILED, {"kind": kind, "text": text})
        return
    _put(folder / DONE, {})


def ticking(folder: Path) -> Tick:
    """Progress, as the parent reads it."""
    return lambda what, done, total, largest: _put(
        folder / PROGRESS, {"what": what, "done": done, "total": total, "largest": largest}
    )


def _words(error: BaseException) -> str:
    return f"the measurement ended in {type(error).__name__}: {first_line(error)}"


def _ended(process: "subprocess.Popen[bytes]", folder: Path, tick: Tick | None) -> bool:
    """Wait for the end, telling of progress; False for a process that is done and does not end."""
    shown: dict[str, Any] = {}
    done_at = None
    while process.poll() is None:
        time.sleep(0.05)
        if tick and (told := _told(folder / PROGRESS)) != shown:
            shown = told
            tick(str(told["what"]), int(told["done"]), int(told["total"]), float(told["largest"]))
        if done_at is None and any((folder / name).is_file() for name in (DONE, FAILED)):
            done_at = time.monotonic()
        if done_at is not None and time.monotonic() - done_at > GRACE:
            return False
    return True


def _told(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        told = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(told, dict):
            return told
    return {}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Whatever is left of the process and of those that it started."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _unordered(what: str) -> MeasureError:
    return MeasureError(
        f"the code that comes with the weights broke the run off: {what}\n"
        "  look at what it does where it is imported, built and run"
    )


def _how(status: int) -> str:
    if status >= 0:
        return f"with exit status {status}"
    with suppress(ValueError):
        return f"by {signal.Signals(-status).name}"
    return f"by signal {-status}"


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _put(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    os.replace(partial, path)
