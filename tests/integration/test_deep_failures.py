"""A check that is broken off deep inside a library, by memory that ran out or a timeout: told in a few lines."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
import torch

from pytest_maxact.gate import records as gate_records
from tests.support.gate_runs import run_gate

DEPTH = 20
Raising = Callable[[], object]


def out_of_memory() -> object:
    try:
        raise RuntimeError("what the allocator said")
    except RuntimeError as error:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\n" + "a line more\n" * 300) from error


def timeout() -> object:
    def handler(number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        pytest.fail("Timeout (>1.0s) from pytest-timeout.")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        return signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def run(
    checkpoint: Path, corpus: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """What a gate prints whose measurement raises."""

    def printed(raising: Raising, *options: str) -> list[str]:
        def deep(*args: object, left: int = DEPTH) -> object:
            return deep(left=left - 1) if left else raising()

        monkeypatch.setattr(gate_records, "measure_source", deep)
        return run_gate(
            pytester, f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "-rN", *options, exit=1
        ).stdout.lines

    return printed


@pytest.mark.parametrize(
    ("raising", "words", "options"),
    [
        (out_of_memory, "E   torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB", []),
        (timeout, "E   Failed: Timeout (>1.0s) from pytest-timeout.", ["--tb=long", "-l"]),
    ],
)
def test_what_breaks_the_measurement_off_is_told_in_a_few_lines(
    raising: Raising, words: str, options: list[str], run: Callable[..., list[str]]
) -> None:
    lines = run(raising, *options)
    assert lines.count(words) == 1
    assert len(lines) < 60
    frames = [line.rpartition(": in ")[2] for line in lines if ".py:" in line and ": in " in line]
    assert frames == ["deep", "deep", raising.__name__]
    assert sum("the first check carries the measurement" in line for line in lines) == 1


def test_everything_is_told_on_request(run: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """By pytest, whose own words take it a quarter of a minute for what it finds in the frames."""

    def told(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        deep = isinstance(excinfo.value, torch.OutOfMemoryError) and len(excinfo.traceback) > DEPTH
        return "all of\nall of them" if deep else "a line"

    monkeypatch.setattr(pytest.Item, "_repr_failure_py", told)
    assert "all of them" not in run(out_of_memory)
    lines = run(out_of_memory, "--full-trace")
    assert lines.count("all of them") == 1
    assert not any("carries the measurement" in line for line in lines)
