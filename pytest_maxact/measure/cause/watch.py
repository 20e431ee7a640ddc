"""One sequence at a time through a model, its counted sites read by the hooks of the observer: ids in, a tensor
[tokens, width] of every site and the final hidden states out, with a graph behind them where that is asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Tap
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.fidelity import Fidelity
from pytest_maxact.measure.observe.fresh import Fresh
from pytest_maxact.measure.observe.hooks import Hooks
from pytest_maxact.measure.observe.intake import Intake
from pytest_maxact.measure.observe.rows import rows_of


class Kept(Intake):
    """What hooks hand over, by site: tensors [B * T, width]; of a site that is read again, the last."""

    def __init__(self) -> None:
        super().__init__({}, Fidelity(()), None)
        self.tensors: dict[str, torch.Tensor] = {}

    def see(self, tap: Tap, tensor: torch.Tensor) -> None:
        assert self.batch is not None
        tensor = tensor if tap.columns is None else tensor[..., tap.columns]
        self.tensors[tap.site.name] = rows_of(tensor, tap, tuple(self.batch.ids.shape))


class Watch:
    """Use `attached` around everything else."""

    def __init__(self, loaded: LoadedModel, anatomy: Anatomy) -> None:
        taps = tuple(tap for tap in anatomy.taps if tap.site.counted)
        self.loaded = loaded
        self._kept = Kept()
        self._hooks = Hooks(replace(anatomy, taps=taps), self._kept)
        self._fresh = Fresh(loaded.decoder)
        self.states: torch.Tensor | None = None
        """Final hidden states [tokens, width] of the sequence that ran last."""
        self._order = [site.name for site in anatomy.sites if site.kind in ("embedding", "hidden")]

    @contextmanager
    def attached(self) -> Iterator["Watch"]:
        with self._hooks.attached():
            yield self

    def residuals(self, ids: Sequence[int]) -> Mapping[str, torch.Tensor]:
        """[tokens, width] of every site of the residual stream, in depth order, on the first device; no graph."""
        with torch.no_grad():
            found = self.run(ids)
        return {name: found[name].to(self.loaded.device) for name in self._order if name in found}

    def run(self, ids: Sequence[int]) -> dict[str, torch.Tensor]:
        """Of every counted site, as the model computes it, each where it lies."""
        given = torch.tensor([list(ids)], device=self.loaded.device)
        rows, none = torch.arange(given.numel(), device=given.device), torch.zeros(0, dtype=torch.long)
        self._fresh.restore()
        self._kept.tensors = {}
        self._kept.batch = Batch(
            plan=PlannedBatch(split="evaluation", sequences=()), ids=given,
            mask=torch.ones_like(given, dtype=torch.bool), real=rows, padding=none.to(given.device), starts=(0,),
            sampled=none.to(given.device),
        )  # fmt: skip
        try:
            output = self.loaded.decoder(**self._kept.batch.model_inputs, use_cache=False)
            self.states = (output if isinstance(output, torch.Tensor) else output[0]).reshape(given.numel(), -1)
        finally:
            self._hooks.forget()
        return self._kept.tensors
