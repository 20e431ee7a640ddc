"""Batches that are put together while another runs: planned batches in, their tensors out.

Guard: a batch is the same whether it was put together ahead or not; an error of it is raised where it is asked for.
"""

from concurrent.futures import Future, ThreadPoolExecutor

import torch

from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.measure.observe.batch import Batch, collate


class Ahead:
    """Makes batches, and the one that is `following`, where that is known, by a thread beside the pass."""

    def __init__(self) -> None:
        self.following: PlannedBatch | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._made: tuple[PlannedBatch, Future[Batch]] | None = None

    def take(self, planned: PlannedBatch, device: torch.device, side: str, stride: int) -> Batch:
        """The tensors of a batch, made ahead or now; the one that follows is begun."""
        made, self._made = self._made, None
        batch = made[1].result() if made and made[0] == planned else collate(planned, device, side, stride)
        if self.following is not None:
            self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="maxact-collate")
            self._made = self.following, self._pool.submit(collate, self.following, device, side, stride)
        return batch

    def __enter__(self) -> None:
        """For the duration of a pass."""

    def __exit__(self, *error: object) -> None:
        """Leave what was begun, and the thread."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self.following, self._pool, self._made = None, None, None
