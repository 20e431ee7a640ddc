"""A measurement that has been checked as far as that goes without weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.placement.placement import Placement
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.numbers.schemes import Scheme
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.deployed import AsDeployed
from pytest_maxact.record.identity import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A measurement that has been checked as far as that goes without weights: what `--co` needs, and what a bad
    request fails on.
    """

    checkpoint: Checkpoint
    identity: Identity
    anatomy: Anatomy
    tokenizer: Any
    sequences: tuple[corpus.Sequence, ...]
    """Those to run: all, or a part of them."""

    whole: tuple[corpus.Sequence, ...]
    """The corpus that they are of: splits, batches, samples of the schemes and shares of tokens are of all of it."""

    max_seq_len: int
    """Tokens after which samples are cut."""

    schemes: tuple[Scheme, ...] = ()
    deployed: AsDeployed | None = None
    """What deployment adds to the text; no samples where it widens nothing but static scales of `anatomy.scaled`."""

    beside: tuple[corpus.Sequence, ...] = ()
    """Samples with it, for the ranges and static scales of `schemes`, or of the artifact itself."""

    watched: tuple[str, ...] = ()
    """Sites that limits bind, `carrier` for M: whose rises keep a pass going that ends once none rises; empty for
    all.
    """

    predicts: bool = True
    """Whether the model has a next-token distribution."""

    @property
    def sites(self) -> list[Site]:
        """Those that were asked for."""
        return self.anatomy.asked.sites

    dtype: str | None = None
    """The dtype of its weights, as its config states it, else as its files hold them; None where neither is there."""

    remarks: tuple[str, ...] = ()
    """What was found of its files that makes loaders differ."""

    placement: Placement | None = None
    """Where it will live; None of a live model, which lives already."""

    batch_tokens: int = 0
    """Tokens of a batch, where the settings leave that to the machine."""

    unpredicted: str = ""
    """Why its own predictions are not measured; empty where they are."""

    widths: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Of every part of every site, of a model that several ranks hold together."""
