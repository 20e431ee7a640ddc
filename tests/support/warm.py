"""Python processes that have torch and transformers imported before they begin: what takes four seconds of a processor
in each process that measures is done once, by a server that forks.

`served` gives a command that stands in for `python -m MODULE ...` and `python -c CODE ...`: arguments, environment,
folder, streams, parent, exit status, signals that ask for an end and death by one are those of a process of its own,
and of what is under test nothing is imported. The server imports when it is first asked, and ends with the process that
started it.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import NoReturn

STANDS_IN = "MAXACT_TESTS_PYTHON"
"""The variable under which processes find the command, for workers of their own."""
CLIENT = """\
import json, os, signal, socket, sys
place, python, *args = sys.argv[1:]
if not args or args[0] not in ("-c", "-u") and not args[0].startswith("-m"):
    os.execv(python, [python, *args])
with socket.socket(socket.AF_UNIX) as server:
    server.connect(place)
    socket.send_fds(server, [b" "], [0, 1, 2])
    given = {"args": args, "environment": dict(os.environ), "folder": os.getcwd(), "parent": os.getppid()}
    server.sendall(json.dumps(given).encode() + b"\\0")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
    os.close(0)
    os.close(1)
    status = int(server.recv(16) or b"70")
if status < 0:
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Path]:
    """The command, as long as the server lives. The folder's path must be short: a socket lies in it."""
    place, command = folder / "socket", folder / "python"
    (folder / "client.py").write_text(CLIENT)
    start = f"'{sys.executable}' -IS '{folder / 'client.py'}' '{place}' '{sys.executable}'"
    command.write_text(f'#!/bin/sh\nexec {start} "$@"\n')
    command.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen(16)
        given = [sys.executable, __file__, str(listener.fileno())]
        with subprocess.Popen(given, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]) as server:
            yield command
            server.kill()


def serve(listener: socket.socket) -> None:
    """Until standard input is closed."""
    own = set(os.environ.get("PYTHONPATH", "").split(os.pathsep)) | {str(Path(__file__).parent)}
    path = [entry for entry in sys.path if entry not in own]
    known = False
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [], 1.0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if sys.stdin in ready:
            return
        if not ready:
            continue
        if not known:
            _import()
            gc.freeze()  # or each process copies all of it when it first collects garbage
            known = True
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _attend(connection, path)
        connection.close()


def _import() -> None:
    import ml_dtypes, numpy, pytest, rich.table, safetensors.torch, torch, yaml  # noqa: E401, F401, I001
    from pydantic import BaseModel, TypeAdapter  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM  # noqa: F401

    plugins = {entry.module.partition(".")[0] for entry in entry_points(group="pytest11")}
    for name in [name for name in sys.modules if name.partition(".")[0] in plugins]:
        del sys.modules[name]  # pytest warns of plugins that were imported before it


def _attend(connection: socket.socket, path: list[str]) -> NoReturn:
    """Fork the process that was asked for, and tell its status; where nobody waits for it any more it is killed."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    asked = b""
    while not asked.endswith(b"\0"):
        asked += connection.recv(1 << 16)
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.close()
        os.close(woken)
        os.close(wakes)
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
            os.close(stream)
        os._exit(_become(path=path, **json.loads(asked[:-1])))
    for stream in streams:
        os.close(stream)
    gone = select.poll()
    gone.register(connection, select.POLLIN)
    gone.register(woken, select.POLLIN)
    ended, status = 0, 0
    while not ended:
        for what, _ in gone.poll():
            if what == connection.fileno():
                asked_to_end = connection.recv(1)
                os.kill(child, asked_to_end[0] if asked_to_end else signal.SIGKILL)
                if not asked_to_end:
                    gone.unregister(connection)
        ended, status = os.waitpid(child, os.WNOHANG)
    with contextlib.suppress(OSError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(args: list[str], environment: Mapping[str, str], folder: str, parent: int, path: Sequence[str]) -> int:
    """The process as Python would have it, from its start to its end."""
    os.getppid = lambda: parent
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    asked_for = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = ["" if "-c" in args else folder, *asked_for, *path]
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False, encoding="utf-8")
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, closefd=False, encoding="utf-8", errors="backslashreplace")
    hand_on(environment)
    status = 0
    try:
        _run([arg for arg in args if arg != "-u"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    return status


def _run(args: list[str]) -> None:
    option, rest = (args[0][:2], [args[0][2:], *args[1:]]) if args[0][2:] else (args[0], args[1:])
    if option == "-m":
        sys.argv = ["-m", *rest[1:]]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *rest[1:]]
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)


def hand_on(environment: Mapping[str, str]) -> None:
    """Let workers that xdist starts from here come from the server too."""
    from execnet import gateway_io

    if (command := environment.get(STANDS_IN)) is None:
        return
    cold = gateway_io.popen_args
    gateway_io.popen_args = lambda spec: [command, *cold(spec)[1:]]


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
