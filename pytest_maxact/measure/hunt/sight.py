"""A few sites of a model, sequence by sequence: token ids in, the largest magnitude that each sequence gives out, and
which way its embeddings would have to go for more.

It looks through the hooks of the observer, so that a site is here what it is there; no figure of it is reported before
an ordinary pass has measured it.
"""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import torch
from torch import nn

from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Tap
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.measure.embedded import embedding_of
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.fidelity import Fidelity
from pytest_maxact.measure.observe.fresh import Fresh
from pytest_maxact.measure.observe.hooks import Hooks
from pytest_maxact.measure.observe.intake import Intake
from pytest_maxact.measure.observe.room import is_out_of_memory
from pytest_maxact.measure.observe.rows import rows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Height:
    """The largest magnitude of one sequence at one site, inf where an entry is NaN or infinite, and where it sat."""

    value: float
    position: int
    channel: int


class _EnoughError(Exception):
    """All sites were seen; what comes after them need not run."""


class _Seen(Intake):
    """What the hooks hand over: the tensor of every tap, [B, T, width]."""

    def __init__(self, taps: int, stops: bool) -> None:
        super().__init__({}, Fidelity(()), None)
        self.tensors: list[tuple[Tap, torch.Tensor]] = []
        self._taps = taps if stops else -1

    def see(self, tap: Tap, tensor: torch.Tensor) -> None:
        assert self.batch is not None
        shape = (self.batch.ids.shape[0], self.batch.ids.shape[1])
        tensor = tensor if tap.columns is None else tensor[..., tap.columns]
        self.tensors.append((tap, rows_of(tensor, tap, shape).reshape(*shape, -1)))
        if len(self.tensors) == self._taps:
            raise _EnoughError


class Sight:
    """Use `attached` around everything else."""

    def __init__(self, loaded: LoadedModel, anatomy: Anatomy, sites: Sequence[str], batch_tokens: int) -> None:
        """Raises InputError for a site that is not there, or whose rows are not those of tokens."""
        self.loaded, self.sites = loaded, tuple(sites)
        self.evaluations = 0
        """Sequences that were run; a gradient counts as three."""
        require_sites(anatomy, sites)
        taps = tuple(tap for tap in anatomy.taps if tap.site.name in sites)
        self._embedding = embedding_of(anatomy)
        self._seen = _Seen(len(taps), stops=not any(tap.last or tap.once for tap in taps))
        self._hooks = Hooks(replace(anatomy, taps=taps), self._seen)
        self._fresh = Fresh(loaded.decoder)
        self._at_once = max(1, batch_tokens)

    @contextmanager
    def attached(self) -> Iterator["Sight"]:
        """Hooks in place, and weights that ask for no gradient, for the duration of the context."""
        asking = [parameter for parameter in self.loaded.model.parameters() if parameter.requires_grad]
        try:
            for parameter in asking:
                parameter.requires_grad_(False)
            with self._hooks.attached():
                yield self
        finally:
            for parameter in asking:
                parameter.requires_grad_(True)

    def heights(self, rows: Sequence[Sequence[int]]) -> list[Mapping[str, Height]]:
        """Of every sequence, in their order; those of one length run together."""
        found: dict[int, Mapping[str, Height]] = {}
        lengths: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            lengths.setdefault(len(row), []).append(place)
        for length, places in lengths.items():
            start = 0
            while start < len(places):
                some = places[start : start + max(1, self._at_once // length)]
                try:
                    told = self._heights([rows[place] for place in some])
                except Exception as error:
                    if not is_out_of_memory(error) or len(some) == 1:
                        raise
                    self._at_once = max(1, len(some) * length // 2)
                    continue
                found |= dict(zip(some, told, strict=True))
                start += len(some)
        self.evaluations += len(rows)
        return [found[place] for place in range(len(rows))]

    @torch.no_grad()
    def _heights(self, rows: Sequence[Sequence[int]]) -> list[dict[str, Height]]:
        self._run(torch.tensor(rows, device=self.loaded.device))
        told: list[dict[str, Height]] = [{} for _ in rows]
        for tap, tensor in self._seen.tensors:
            flat = tensor.abs().flatten(1).float().nan_to_num(nan=math.inf, posinf=math.inf)
            values, places = flat.max(1)
            for row, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True)):
                position, channel = divmod(place, tensor.shape[-1])
                known = told[row].get(tap.site.name)
                if known is None or value > known.value:
                    told[row][tap.site.name] = Height(value=value, position=position, channel=channel)
        self._forget()
        return told

    def uphill(self, ids: Sequence[int], site: str) -> torch.Tensor | None:
        """The gradient of the largest magnitude at a site with respect to what the embedding gives, [tokens, width] in
        float32; None where this model has none.
        """
        leaves: list[torch.Tensor] = []

        def leaf(module: nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
            leaves.append(output.detach().clone().requires_grad_(True))
            return leaves[-1]

        self.evaluations += 3
        handle = self._embedding.register_forward_hook(leaf)
        try:
            with torch.enable_grad():
                self._run(torch.tensor([list(ids)], device=self.loaded.device))
                tops = [tensor.abs().max().float() for tap, tensor in self._seen.tensors if tap.site.name == site]
                top = torch.stack([one.to(tops[0].device) for one in tops]).max()
                (found,) = torch.autograd.grad(top, leaves[-1:], allow_unused=True)
        except (RuntimeError, NotImplementedError) as error:
            if is_out_of_memory(error):
                raise
            return None
        finally:
            handle.remove()
            self._forget()
        return None if found is None else found[0].float().nan_to_num(0.0)

    def _run(self, ids: torch.Tensor) -> None:
        self._fresh.restore()
        self._seen.tensors.clear()
        self._seen.batch = _batch(ids)
        with suppress(_EnoughError):
            self.loaded.decoder(**self._seen.batch.model_inputs, use_cache=False)
        if {tap.site.name for tap, _ in self._seen.tensors} != set(self.sites):
            raise MeasureError("a site did not fire during the search\n  please report the model_type")

    def _forget(self) -> None:
        self._hooks.forget()
        self._seen.tensors.clear()


def require_sites(anatomy: Anatomy, sites: Sequence[str]) -> None:
    """Raise InputError for a site that is not there, or whose rows are not those of tokens."""
    known = {site.name: site for site in anatomy.sites}
    for name in sites:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=2)
            meant = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(list(known)[:4])}, ..."
            raise InputError(f"no site {name!r} in this model\n  {meant} `maxact sites` lists all")
        taps = [tap for tap in anatomy.taps if tap.site.name == name]
        if known[name].is_of_attention or any(tap.routed for tap in taps):
            what = "attention" if known[name].is_of_attention else "routed experts"
            raise InputError(
                f"{name} is inside {what}, and cannot be searched sequence by sequence\n"
                "  name a site of the residual stream, a block's output, a gate or an input of linear layers"
            )


def _batch(ids: torch.Tensor) -> Batch:
    """Ids [B, T] without padding; of no sample."""
    none = torch.zeros(0, dtype=torch.long, device=ids.device)
    return Batch(
        plan=PlannedBatch(split="evaluation", sequences=()), ids=ids, mask=torch.ones_like(ids, dtype=torch.bool),
        real=torch.arange(ids.numel(), device=ids.device), padding=none, starts=(0,) * len(ids), sampled=none,
    )  # fmt: skip
