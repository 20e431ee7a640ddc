"""Measurements that are killed, as processes forked from one that has imported all they need: `python -m
tests.support.killed` is given `Killings` as JSON, and prints what became of them as `Chain`s.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Killings:
    """`kills` in all, in chains of at most `links`, at moments drawn by `seed`; `options` are settings."""

    folder: str
    options: dict[str, Any]
    kills: int
    links: int
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One measurement: how often it was killed, every batch that ran in it by its first sample (of a streamed one, with
    the sites behind it, every step of a batch), how often it went on
    where it was, whether its Record is, byte for byte, that of one that was let alone, what was left behind, and
    whether it ended by itself rather than by a kill when its Record was safe.
    """

    kills: int
    batches: list[str]
    remarks: list[str]
    same: bool
    left: list[str]
    ended: bool


def killed(killings: Killings, python: Path) -> tuple[int, list[Chain]]:
    """How many batches a measurement has, and what became of those that were killed; `python` is the command."""
    given = json.dumps(asdict(killings))
    told = subprocess.run(
        [str(python), "-m", "tests.support.killed"], input=given, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    batches, chains = json.loads(told.stdout)
    return batches, [Chain(**chain) for chain in chains]


def _import_all() -> None:
    """What a measurement needs, so that no fork spends its time on it."""
    for name in ("measure.run", "measure.stream.run", "measure.resume.bookmarks", "record.file"):
        import_module(f"pytest_maxact.{name}")


def _measure(prepared: Any, settings: Any, out: Path, log: Path, bookmarks: Path | None) -> None:
    """In a process of its own."""
    from pytest_maxact.measure.observe.observer import Observer
    from pytest_maxact.measure.resume import bookmarks as policy
    from pytest_maxact.measure.resume.resumption import Resumption, until_safe
    from pytest_maxact.measure.run import measure
    from pytest_maxact.measure.stream.observed import BatchAside
    from pytest_maxact.record.file import save

    policy.SHARE, policy.NOT_BEFORE = float("inf"), 0.0
    forward = Observer.forward

    def note(words: str) -> None:
        with log.open("a") as file:
            file.write(f"batch {words}\n")

    def logged(self: Observer, planned: Any, *args: Any, **kwargs: Any) -> Any:
        if settings.device != "stream":
            note(planned.sequences[0].sample.id)
        return forward(self, planned, *args, **kwargs)

    def stepped(aside: Any, ended: bool) -> None:
        went_on = aside._left is not None
        leave(aside, ended)
        if not went_on:
            note(f"{aside._planned.sequences[0].sample.id} {len(aside.rows)}")

    leave, BatchAside.leave = BatchAside.leave, stepped  # type: ignore[method-assign]
    Observer.forward = logged  # type: ignore[method-assign]
    resumption = Resumption(bookmarks) if bookmarks else None
    with until_safe(resumption):
        record = measure(prepared, settings, None, resumption=resumption)
        save(record, out)
    if resumption and resumption.remark:
        with log.open("a") as file:
            file.write(f"remark {resumption.remark}\n")


def _forked(*args: Any) -> int:
    child = os.fork()
    if not child:
        status = 1
        try:
            _measure(*args)
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def _ends_by(child: int, moment: float) -> bool:
    """Whether a child ends well until then; it is killed else."""
    while time.monotonic() < moment:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0, "a measurement failed"
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _chains(killings: Killings) -> Iterator[Any]:
    import torch

    _import_all()
    from pytest_maxact.measure.prepare import prepare
    from pytest_maxact.settings.settings import Settings

    torch.set_num_threads(1)
    folder, draw = Path(killings.folder), random.Random(killings.seed)
    settings = Settings(**killings.options)
    prepared = prepare(settings)
    alone, log, marks = folder / "alone.safetensors", folder / "log", folder / "marks"
    marks.mkdir()
    begun = time.monotonic()
    assert _ends_by(_forked(prepared, settings, alone, log, None), begun + 60)
    took = time.monotonic() - begun
    yield log.read_text().count("batch ")
    kills = 0
    while kills < killings.kills:
        out, links = folder / "out.safetensors", 0
        log.write_text("")
        while links < killings.links and kills < killings.kills:
            child = _forked(prepared, settings, out, log, marks)
            if ended := _ends_by(child, time.monotonic() + draw.uniform(0.0, 0.7 * took)):
                break
            links, kills = links + 1, kills + 1
            if out.exists():
                break  # the Record was safe already, and what was to be removed may be left
        else:
            ended = _ends_by(_forked(prepared, settings, out, log, marks), time.monotonic() + 60)
        lines = [line.partition(" ") for line in log.read_text().splitlines()]
        yield asdict(Chain(
            kills=links, batches=[what for kind, _, what in lines if kind == "batch"],
            remarks=[what for kind, _, what in lines if kind == "remark"],
            same=out.read_bytes() == alone.read_bytes(), left=sorted(path.name for path in marks.iterdir()),
            ended=ended,
        ))  # fmt: skip
        out.unlink()


if __name__ == "__main__":
    batches, *chains = _chains(Killings(**json.loads(sys.stdin.read())))
    print(json.dumps([batches, chains]))
