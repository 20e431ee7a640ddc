"""The batch plan: sequences of similar length together, under a budget of padded tokens, each batch of one split.

A batch holds its sequences in sample order, so that row order within a batch is the order by which equal peaks are
ranked. The longest batches come first: if memory is short, the run learns it at once.
"""

from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

from pytest_maxact.corpus.tokens import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBatch:
    split: str
    sequences: tuple[Sequence, ...]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.sequences))

    @property
    def slots(self) -> int:
        """Places of tokens, padding included."""
        return self.tokens + self.padded_tokens

    @property
    def padded_tokens(self) -> int:
        return len(self.sequences) * max(map(len, self.sequences)) - self.tokens


BatchPlan = list[PlannedBatch]


def plan_batches(sequences: SequenceOf[Sequence], splits: Mapping[str, str], batch_tokens: int) -> BatchPlan:
    """Batches of at most `batch_tokens` tokens, padding included; a longer sequence stands alone."""
    plan: BatchPlan = []
    for split in sorted(set(splits.values())):
        group: list[Sequence] = []
        members = [s for s in sequences if splits[s.sample.id] == split]
        for sequence in sorted(members, key=lambda s: (-len(s), s.sample.id)):
            if group and (len(group) + 1) * len(group[0]) > batch_tokens:
                plan.append(_batch(split, group))
                group = []
            group.append(sequence)
        if group:
            plan.append(_batch(split, group))
    return sorted(plan, key=lambda batch: (-max(map(len, batch.sequences)), batch.split, batch.sequences[0].sample.id))


def batches_of(plan: BatchPlan, shard: str | None) -> BatchPlan:
    """Of a plan the batches of the K-th of N parts, `K/N`: every N-th, so that parts are about as long; all for
    None.
    """
    if shard is None:
        return plan
    part, parts = map(int, shard.split("/"))
    return plan[part - 1 :: parts]


def apart(plan: BatchPlan, steady: int | None) -> BatchPlan:
    """The plan with every sequence of more than `steady` tokens, if there is such a limit, in a batch of its own."""
    if steady is None:
        return plan
    parted: BatchPlan = []
    for batch in plan:
        long = [sequence for sequence in batch.sequences if len(sequence) > steady]
        rest = [sequence for sequence in batch.sequences if len(sequence) <= steady]
        parted += [_batch(batch.split, [sequence]) for sequence in long]
        parted += [_batch(batch.split, rest)] if rest else []
    return parted


def _batch(split: str, group: SequenceOf[Sequence]) -> PlannedBatch:
    return PlannedBatch(split=split, sequences=tuple(sorted(group, key=lambda s: s.sample.id)))
