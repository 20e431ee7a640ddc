"""Others who run batches of the same plan at the same time, as an observer meets them."""

from typing import Protocol

from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch
from pytest_maxact.measure.observe.fidelity import Fidelity


class Company(Protocol):
    """What a pass that is one of several asks of the others."""

    def mine(self, plan: BatchPlan) -> BatchPlan:
        """The batches that this pass runs."""

    def meets(self, planned: PlannedBatch, fidelity: Fidelity) -> None:
        """Before every batch, calibration first: between the splits, the maxima that calibrate scales become those of
        all.
        """

    def refused(self, planned: PlannedBatch) -> None:
        """After a batch that does not fit into memory. Raises MeasureError where it cannot be halved here alone."""
