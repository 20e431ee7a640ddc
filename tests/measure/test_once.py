"""The one protocol of locks: looked for, made, put in place, and a failure told."""

from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from pytest_maxact.measure.once import locked, once


def run(lock: Path, told: list[object], found: int | None = None, error: BaseException | None = None) -> int:
    def make() -> int:
        with pytest.raises(Timeout):
            FileLock(lock).acquire(timeout=0.01)
        told.append("made")
        if error is not None:
            raise error
        return 7

    return once(
        locked(lock),
        look=lambda: found,
        make=make,
        put=lambda made: told.append(("put", made)),
        tell=lambda error: told.append(error),
    )


def test_what_is_there_is_taken_and_nothing_made(tmp_path: Path) -> None:
    told: list[object] = []
    assert run(tmp_path / "lock", told, found=0) == 0
    assert told == []


def test_what_is_not_there_is_made_under_the_lock_and_put_in_place(tmp_path: Path) -> None:
    told: list[object] = []
    assert run(tmp_path / "lock", told) == 7
    assert told == ["made", ("put", 7)]
    FileLock(tmp_path / "lock").acquire(timeout=0.01).lock.release()


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_failure_is_told_and_goes_on_and_leaves_no_lock(error: BaseException, tmp_path: Path) -> None:
    told: list[object] = []
    with pytest.raises(type(error)):
        run(tmp_path / "lock", told, error=error)
    assert told == ["made", error]
    FileLock(tmp_path / "lock").acquire(timeout=0.01).lock.release()


def test_a_lock_that_cannot_be_taken_is_an_error_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(OSError, match="lock"):
        run(tmp_path / "lock", [])
