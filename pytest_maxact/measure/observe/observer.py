"""One hooked forward pass over a batch plan, every batch of which is checked for full coverage before it counts.

Every site's rows must equal the batch's tokens (times the experts per token inside them), and in the end its element
count must equal tokens x width; anything else is an error, not a figure.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch, apart, batches_of
from pytest_maxact.errors import MaxactError, MeasureError, first_line
from pytest_maxact.measure.observe.accumulate import SiteAccumulator, commit_all, running_m
from pytest_maxact.measure.observe.ahead import Ahead
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.company import Company
from pytest_maxact.measure.observe.coverage import check_counts, check_coverage
from pytest_maxact.measure.observe.fidelity import SAMPLED_TOKENS, Fidelity
from pytest_maxact.measure.observe.fresh import Fresh
from pytest_maxact.measure.observe.gatherers import Gatherers
from pytest_maxact.measure.observe.hooks import Hooks
from pytest_maxact.measure.observe.intake import Intake
from pytest_maxact.measure.observe.left import Follower, Left
from pytest_maxact.measure.observe.logits import Logits
from pytest_maxact.measure.observe.losses import Losses
from pytest_maxact.measure.observe.maxima import Maxima
from pytest_maxact.measure.observe.probe import Memory, must_be_alone
from pytest_maxact.measure.observe.room import is_out_of_memory
from pytest_maxact.measure.observe.rotary import steady_up_to
from pytest_maxact.measure.observe.scores import Scores, ScoreWatch
from pytest_maxact.measure.progress import Counted
from pytest_maxact.numbers.schemes import Scheme

Watch = Callable[[Batch, torch.Tensor], Callable[[], None]]
"""Given a batch and its final hidden states; what it returns keeps what it made of them, once the batch counts."""


class Observer:
    """A decoder under observation, and what was seen of it. Use `attached` around `run`."""

    def __init__(
        self, decoder: nn.Module, anatomy: Anatomy, schemes: Sequence[Scheme] = (), watch: Watch | None = None,
        scores: Scores | None = None, maxima: bool = True,
    ) -> None:  # fmt: skip
        self.decoder = decoder
        self._watch = watch
        self.anatomy = anatomy
        asked = {site.name for site in anatomy.asked.sites} if maxima else set()
        self.maxima = Maxima([site.name for site in anatomy.asked.sites])
        """The largest entry of every sample at every site that was asked for; of none where maxima are not, and no
        sums.
        """
        self.losses = Losses([site.name for site in anatomy.asked.sites])
        """What INT-8 costs every sample; likewise."""
        kept = (self.maxima, self.losses)
        self.accumulators = {
            site.name: SiteAccumulator(site.name, site.kind == "hidden", *(kept if site.name in asked else ()))
            for site in anatomy.sites
        }
        self.tokens = {"calibration": 0, "evaluation": 0}
        self.batches = 0
        self.padded_tokens = 0
        self.out_of_memory = 0
        self.alone = False
        """Whether each sequence ran alone, because this model lets a token see its batch."""
        self.kept_apart = 0
        """Sequences that ran alone because they must: all of those, or those beyond which rotary tables vary."""
        self.traffic: dict[str, dict[str, torch.Tensor]] = {experts.site: {} for experts in anatomy.experts}
        """Tokens each expert was given, int64 [experts], by router site and split."""
        sampled = [site.name for site in anatomy.asked.sites if site.is_linear_input or site.is_cached]
        self.fidelity = Fidelity(schemes, sampled if maxima else ())
        self.scores = scores
        """Attention scores, where they are looked for."""
        self.stride = 1
        """One token of the evaluation split in so many is sampled for the schemes."""
        self.shared: dict[tuple[str, str], str] = {}
        """Parts of linear inputs that are given the same tensor as another part, with that part, by site and part."""
        self._fresh: Fresh | None = None
        self._ahead = Ahead()
        self._steady: int | None = None
        self.logits = Logits() if any(site.kind == "q" for site in anatomy.asked.sites) else None
        """Attention logits, where queries are asked for."""
        self.gatherers = Gatherers(fidelity=self.fidelity, scores=self.scores, logits=self.logits)
        self.intake = Intake(self.accumulators, self.fidelity, self.logits)
        self.hooks = Hooks(anatomy, self.intake)

    @contextmanager
    def attached(self) -> Iterator["Observer"]:
        """Hooks in place for the duration of the context, gone after it whatever happens."""
        with self.hooks.attached():
            yield self

    @torch.inference_mode()
    def run(
        self, plan: BatchPlan, device: torch.device, progress: Counted | None = None, side: str = "right",
        shard: str | None = None, company: Company | None = None, follower: Follower | None = None,
        in_order: bool = False,
    ) -> None:  # fmt: skip
        """Observe every batch of a plan, or of a part of it, but for those that the `follower` knows already; what does
        not fit into memory is halved and tried again.

        Where a token's result turns out to depend on what else is in its batch, every sequence runs alone; those for
        which a rotary table is computed by their length do in any case. Each batch meets the model as it is now.
        `in_order`: as the plan has them, not calibration first; no scheme may take its scales from that.
        Raises MeasureError for a batch of one sequence that does not fit, for incomplete coverage, and for a model
        that remembers.
        """
        plan, mine = self.ready(plan, shard, company, in_order)
        memory = self._memory(plan, device)
        self.alone = must_be_alone(plan, memory.recalled if memory else partial(self.glimpse, device=device))
        self.count_apart(mine)
        with self._ahead:
            self._run_all(mine, device, progress, side, company, follower, memory)
        if memory:
            memory.refuse()
        self._renew()

    def _run_all(
        self, mine: BatchPlan, device: torch.device, progress: Counted | None, side: str, company: Company | None,
        follower: Follower | None, memory: Memory | None,
    ) -> None:  # fmt: skip
        """Every batch once. One as large as another that did not fit is halved before it is tried."""
        total, left = sum(batch.tokens for batch in mine), Left(mine)
        check, seconds = (memory.refuse, memory.seconds) if memory else (lambda: None, 0.0)
        if follower:
            follower.begun(left)
        done = total - left.tokens
        while planned := left.take():
            if company:
                company.meets(planned, self.fidelity)
            if len(planned.sequences) > 1 and (self.alone or planned.slots >= left.refused):
                left.halve()
                continue
            self._ahead.following = left.following
            if self._try(planned, device, side):
                done += planned.tokens
                if follower:
                    follower.ran(left, check, seconds)
                if progress:
                    progress(
                        done, total, running_m(self.accumulators, self.anatomy.sites)
                    )  # which is where others are found to be gone
                continue
            if company:
                company.refused(planned)
            self.out_of_memory += 1
            left.refuse(planned)

    def ready(self, plan: BatchPlan, shard: str | None, company: Company | None = None, in_order: bool = False
    ) -> tuple[BatchPlan, BatchPlan]:  # fmt: skip
        """The model as it is now is what every batch meets. Gives all batches, and those of a part of them, in the
        order in which they run: calibration first, for it sets the scales that evaluation is quantized with.
        """
        mine = (company.mine if company else list)(batches_of(plan, shard))
        mine = mine if in_order else sorted(mine, key=lambda batch: batch.split)
        plan = sorted(plan, key=lambda batch: batch.split)
        self.stride = -(-sum(batch.tokens for batch in plan if batch.split == "evaluation") // SAMPLED_TOKENS) or 1
        self._fresh = Fresh(self.decoder)
        self._steady = steady_up_to(self.decoder)
        return apart(plan, self._steady), apart(mine, self._steady)

    def count_apart(self, mine: BatchPlan) -> None:
        """Count the sequences that run alone."""
        steady = self._steady
        sequences = [sequence for batch in mine for sequence in batch.sequences]
        self.kept_apart = sum(self.alone or (steady is not None and len(s) > steady) for s in sequences)

    def _memory(self, plan: BatchPlan, device: torch.device) -> Memory | None:
        """What the model gives for pieces of the corpus now; None where it gives nothing, which the pass will tell."""
        try:
            return Memory(plan, partial(self.glimpse, device=device))
        except Exception:
            return None

    def glimpse(self, rows: Sequence[Sequence[int]], length: int, device: torch.device) -> torch.Tensor:
        """What the decoder returns for the first `length` tokens of the last row, the rest of which is padding."""
        ids = torch.tensor(rows, device=device)
        mask = torch.ones_like(ids, dtype=torch.bool)
        mask[-1, length:] = False
        real, padding = mask.flatten().nonzero().squeeze(1), (~mask).flatten().nonzero().squeeze(1)
        nothing = PlannedBatch(split="calibration", sequences=())
        none = torch.zeros(0, dtype=torch.long, device=device)
        self.intake.batch = batch = Batch(
            plan=nothing, ids=ids, mask=mask, real=real, padding=padding, starts=(0,) * len(rows), sampled=none
        )  # fmt: skip
        try:
            self._renew()
            output = self.decoder(**batch.model_inputs, use_cache=False)
            states: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
        finally:
            self._forget()
        return states[-1, :length] if states.shape[0] == len(rows) else states[:length, -1]

    def _try(self, planned: PlannedBatch, device: torch.device, side: str) -> bool:
        """Run one batch and commit it; False, and no trace, where memory ran out."""
        try:
            self._renew()
            batch, keep = self.forward(planned, device, side)
        except Exception as error:
            self._forget()
            if isinstance(error, MaxactError):
                raise
            if not is_out_of_memory(error):
                names = f"{planned.sequences[0].sample.id} to {planned.sequences[-1].sample.id}"
                raise MeasureError(
                    f"the forward pass failed on samples {names}: {type(error).__name__}: {first_line(error)}"
                ) from error
            if device.type == "cuda":
                torch.cuda.empty_cache()
            return False
        self.intake.settle()
        rows = {name: accumulator.staged_rows for name, accumulator in self.accumulators.items()}
        check_coverage(self.anatomy, planned, self.hooks, self.intake, rows)
        commit_all(self.accumulators.values(), batch)
        self.gatherers.commit(batch)
        self.keep(planned)
        keep()
        self._forget()
        return True

    def forward(
        self, planned: PlannedBatch, device: torch.device, side: str = "right"
    ) -> tuple[Batch, Callable[[], None]]:
        """Run a batch; what is returned with it keeps what was made of its final hidden states."""
        self.intake.batch = batch = self._ahead.take(planned, device, side, self.stride)
        with ScoreWatch(self.scores, batch, lambda: self.intake.running) if self.scores else nullcontext():
            output = self.decoder(**batch.model_inputs, use_cache=False)
        return batch, self._watched(batch, output)

    def keep(self, planned: PlannedBatch) -> None:
        """Keep what was noted of a batch beside the figures of its sites."""
        self.shared.update(self.hooks.inputs.repeats)
        for site, given in self.intake.traffic.items():
            total = self.traffic[site]
            total[planned.split] = total[planned.split] + given if planned.split in total else given
        self.tokens[planned.split] += planned.tokens
        self.batches += 1
        self.padded_tokens += planned.padded_tokens

    def _renew(self) -> None:
        if self._fresh:
            self._fresh.restore()

    def _watched(self, batch: Batch, output: Any) -> Callable[[], None]:
        """What keeps what was made of the final hidden states; whatever ran for it was not of the pass."""
        if self._watch is None:
            return lambda: None
        self.intake.batch = None
        try:
            return self._watch(batch, output if isinstance(output, torch.Tensor) else output[0])
        finally:
            self.intake.batch = batch

    def _forget(self) -> None:
        self.hooks.forget()
        self.gatherers.rollback()
        for accumulator in self.accumulators.values():
            accumulator.rollback()

    def finish(self) -> None:
        """The last check: every site's element count equals tokens x width, exactly. Raises MeasureError otherwise."""
        check_counts(self.anatomy, self.accumulators, self.traffic, self.tokens)
