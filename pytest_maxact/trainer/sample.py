"""Which samples a training run is measured on: chosen once, because figures of different samples cannot be compared,
and small enough for a budget.
"""

import time
from collections.abc import Callable, Sequence

from pytest_maxact import corpus
from pytest_maxact.corpus.samples import interleaved
from pytest_maxact.errors import InputError
from pytest_maxact.record.record import Record

MARGIN = 0.7
"""Share of the time left that the sample may take by the pilot's pace: steps of a training run are not alike."""


class OverBudgetError(Exception):
    """A measurement took longer than it may hold the training up."""


class Budget:
    """Seconds that one measurement may take, counted from now, of which `spent` are gone already."""

    def __init__(self, seconds: float, spent: float = 0.0) -> None:
        self.seconds = seconds
        self._start = time.perf_counter() - spent

    @property
    def spent(self) -> float:
        return time.perf_counter() - self._start

    def check(self, done: int, total: int) -> None:
        """Between two batches: raise OverBudgetError where time is up and something is left to do."""
        if done < total and self.spent > self.seconds:
            raise OverBudgetError(f"{done} of {total} tokens in {self.spent:.3g} s of {self.seconds:g}")


def within(
    budget: Budget, sequences: Sequence[corpus.Sequence], seed: int, run: Callable[[Sequence[corpus.Sequence]], None]
) -> list[corpus.Sequence]:  # fmt: skip
    """As many of the samples as fit into what a pilot leaves of the budget, categories in proportion, two at least.
    `run` makes a pass over some.

    Raises OverBudgetError where two do not fit.
    """
    lengths = {sequence.sample.id: len(sequence) for sequence in sequences}
    first = [sample.id for sample in interleaved([sequence.sample for sequence in sequences], seed)][:2]
    start = budget.spent
    run([sequence for sequence in sequences if sequence.sample.id in first])
    tokens = sum(lengths[name] for name in first)
    pace = tokens / (budget.spent - start)
    most = max(tokens, int(pace * MARGIN * (budget.seconds - budget.spent)))
    budget.check(tokens, tokens + most)
    return list(sequences) if sum(lengths.values()) <= most else corpus.within_token_budget(sequences, most, seed)


def samples_of(record: Record, name: str, samples: Sequence[corpus.Sample]) -> list[corpus.Sample]:
    """The samples that a Record was measured on, by their content, out of a corpus. Raises InputError where the
    corpus lacks one of them.
    """
    known: dict[str, list[corpus.Sample]] = {}
    for sample in reversed(samples):
        known.setdefault(sample.digest, []).append(sample)
    chosen = []
    for (named, *_), digest in zip(record.provenance.samples, record.provenance.sample_digests, strict=True):
        if not known.get(digest):
            raise InputError(
                f"{name} was measured on sample {named}, which this corpus ({len(samples)} samples) does not hold\n"
                "  give the corpus that it was measured on"
            )
        chosen.append(known[digest].pop())
    return chosen
