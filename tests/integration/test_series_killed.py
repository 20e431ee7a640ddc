"""A series that is killed goes on where it was, and processes on one cache measure once between them."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_maxact.record.file import load
from tests.support.gate_runs import loads

DRIVER = dedent("""\
    import json, os, random, signal, sys, time
    from pathlib import Path

    import torch
    from pytest_maxact.measure import run as measure
    from pytest_maxact.gate.session import open_session
    from pytest_maxact.settings.settings import Settings

    pattern, corpus, disturbed, undisturbed, seed = sys.argv[1:]
    chosen, log = random.Random(int(seed)), Path(disturbed + ".loads")
    load = measure.load

    def noted(checkpoint, *how):
        with log.open("a") as file:
            file.write(Path(checkpoint.name).name + "\\n")
        if len(log.read_text().split()) == held_at:
            signal.pause()
        return load(checkpoint, *how)

    def series(cache):
        log.write_text("")
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            session = open_session(Settings(model=pattern, corpus=corpus, cache=cache))
            for subject in session.plan.subjects:
                session.records.obtain(subject.source)
            os._exit(0)
        return child

    def wait(child, loads):
        "Until it has begun to load so many checkpoints, or ended: its status, None where it still runs."
        while len(log.read_text().split()) < loads:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
            time.sleep(0.001)

    measure.load, held_at = noted, 0
    child = series(undisturbed)
    assert wait(child, 1) is None
    start = time.perf_counter()
    assert os.waitpid(child, 0)[1] == 0
    each = (time.perf_counter() - start) / 3
    attempts, status = [], None
    while status != 0 and len(attempts) < 100:
        manifests = [json.loads(path.read_text()) for path in Path(disturbed).glob("*.json")]
        before = sorted(manifest["measured_from"]["weights_sha256"] for manifest in manifests)
        held_at = 0 if attempts else 2  # the first is killed halfway, however fast the machine is
        child = series(disturbed)
        status = wait(child, held_at or chosen.randint(0, 2))
        if status is None:
            time.sleep(chosen.uniform(0.0, each))
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        loads = log.read_text().split()
        attempts.append({"killed": os.WIFSIGNALED(status), "status": status, "known": before, "loads": loads})
    print(json.dumps(attempts))
    """)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_killed_at_any_moment_a_series_goes_on_where_it_was(
    seed: int, run: str, corpus: Path, tmp_path: Path, warm_python: Path
) -> None:
    """Killed again and again, each time at a random moment before, in or after a measurement, until a run gets through;
    then the Records are those of an undisturbed run, byte for byte.
    """
    from pytest_maxact.checkpoint.digest import weights_digest
    from pytest_maxact.checkpoint.files import weight_files

    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    command = [warm_python, "-c", DRIVER, run, str(corpus), str(disturbed), str(undisturbed), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    attempts = json.loads(done.stdout)
    assert attempts[-1]["status"] == 0
    assert sum(attempt["killed"] for attempt in attempts) == len(attempts) - 1 >= 1
    assert any(0 < len(attempt["known"]) < 3 for attempt in attempts), "no run was killed halfway"
    names = {weights_digest(weight_files(folder)): folder.name for folder in (tmp_path / "run").iterdir()}
    for attempt in attempts:
        assert not {names[digest] for digest in attempt["known"]} & set(attempt["loads"]), (
            "measured again what was kept"
        )
        assert len(set(attempt["loads"])) == len(attempt["loads"])
    assert contents(disturbed) == contents(undisturbed)
    assert len(contents(undisturbed)) == 6


def contents(folder: Path) -> dict[str, bytes]:
    """Records and manifests of a cache."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.suffix != ".lock"
    }


@pytest.mark.slow
def test_a_killed_pytest_run_is_resumed_by_the_next(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path, warm_python: Path
) -> None:
    chosen = random.Random(3)
    command = [sys.executable, "-m", "pytest", f"--maxact-model={run}", f"--maxact-corpus={corpus}", "-q"]
    process = subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and sum(loads(counted).values()) < 2:
        time.sleep(0.01)
    time.sleep(chosen.uniform(0, 0.05))
    process.kill()
    process.wait()
    kept = len(list((pytester.path / ".pytest_cache" / "d" / "maxact").glob("*.json")))
    assert kept >= 1
    before = sum(loads(counted).values())
    again = [warm_python, *command[1:]]
    result = subprocess.run(again, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert sum(loads(counted).values()) - before == 3 - kept


@pytest.mark.slow
def test_two_processes_on_one_cache_measure_once_between_them(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path, tmp_path: Path, warm_python: Path
) -> None:
    cache = tmp_path / "cache"
    command = [
        warm_python,
        "-m",
        "pytest",
        f"--maxact-model={run}",
        f"--maxact-corpus={corpus}",
        "-q",
        f"--maxact-cache={cache}",
        "-p",
        "no:cacheprovider",
    ]
    processes = [
        subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert loads(counted) == {"checkpoint-5": 1, "checkpoint-10": 1, "checkpoint-20": 1}
    assert len(contents(cache)) == 6
    for path in cache.glob("*.safetensors"):
        load(path)
