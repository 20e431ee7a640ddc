"""What bookmarks cost a measurement of SmolLM2-135M: the pass alone and with bookmarks as they are written by default,
alternating; the share of the time that went into them, what one takes and how large it is; and what is lost by a kill.

python fixtures/make_smollm2.py once, then: python benchmarks/resume.py [SAMPLES [SCHEMES]]
"""

import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.resume import bookmarks
from pytest_maxact.measure.resume.resumption import Resumption, until_safe
from pytest_maxact.measure.run import measure
from pytest_maxact.settings.settings import Settings

ROUNDS = 3
CHECKPOINT: Path = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "make_smollm2.py"))["folder"]()


@dataclass
class Costs:
    """Seconds in whatever bookmarks do, and of every one that was written its seconds and bytes."""

    spent: float = 0.0
    written: list[tuple[float, int]] = field(default_factory=list)

    def noted(self, original: Callable[..., Any], sized: bool = False) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            begun = time.perf_counter()
            found = original(*args)
            took = time.perf_counter() - begun
            if sized:
                self.written.append((took, args[0].stat().st_size))
            else:
                self.spent += took
            return found

        return timed


def seconds(prepared: Prepared, settings: Settings, place: Path | None) -> float:
    begun = time.perf_counter()
    resumption = Resumption(place) if place else None
    with until_safe(resumption):
        measure(prepared, settings, None, resumption=resumption)
    return time.perf_counter() - begun


def main(samples: int, schemes: tuple[str, ...]) -> None:
    settings = Settings(model=str(CHECKPOINT), max_samples=samples, schemes=schemes)
    prepared, costs = prepare(settings), Costs()
    bookmarks.Following.ran = costs.noted(bookmarks.Following.ran)  # type: ignore[method-assign]
    bookmarks.write = costs.noted(bookmarks.write, sized=True)
    alone, followed = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as place:
        for _ in range(ROUNDS):
            alone.append(seconds(prepared, settings, None))
            followed.append(seconds(prepared, settings, Path(place)))
    tokens = sum(map(len, prepared.sequences))
    print(f"SmolLM2-135M, {samples} samples, {tokens} tokens, schemes {', '.join(schemes) or 'none'}; torch"
          f" {torch.__version__}, {torch.get_num_threads()} threads; {ROUNDS} rounds, medians")  # fmt: skip
    print(f"without {statistics.median(alone):.1f} s, with {statistics.median(followed):.1f} s")
    print(
        f"in bookmarks {100 * costs.spent / sum(followed):.2f} % of the time, {len(costs.written) / ROUNDS:.1f} of them"
    )
    if costs.written:
        took, size = (statistics.median(column) for column in zip(*costs.written, strict=True))
        print(f"one: {took:.3f} s, {size / 1e6:.1f} MB; so one at most every {took / bookmarks.SHARE:.0f} s")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else 60, tuple(given[1].split(",")) if len(given) > 1 else ())
