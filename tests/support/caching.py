"""Measurements that a store keeps, and other processes that make them; torch is not needed for it."""

import os
import time
from pathlib import Path
from typing import Any

from pytest_maxact.measure.store import Store
from pytest_maxact.record.record import Record
from tests.support import records

CONTENT: dict[str, Any] = {
    "weights_sha256": "w" * 64,
    "batch_tokens": 64,
    "schemes": ["W8A8"],
    "bounds": [["a::b", 20.0]],
    "dtype": None,
}
VALUES = {"embedding": [[1.0, 2.0]], "layers.0.hidden": [[4.0, -8.0]]}


def record(peak: float = 8.0) -> Record:
    return records.record({**VALUES, "layers.0.hidden": [[4.0, peak]]})


class Counted:
    """A measurement that counts how often it is made."""

    def __init__(self, made: Record) -> None:
        self.made, self.times = made, 0

    def __call__(self) -> Record:
        self.times += 1
        return self.made


def obtain_slowly(folder: Path, log: Path, started: Any) -> None:
    """One process of several: all start at once, and each would measure for a while."""

    def measure() -> Record:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        return record()

    started.wait()
    assert Store(folder).obtain(CONTENT, measure) == record()


def obtain_and_die(folder: Path) -> None:
    def measure() -> Record:
        os._exit(9)

    Store(folder).obtain(CONTENT, measure)
