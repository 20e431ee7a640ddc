"""Short ways to a Record, and an independent observer: plain hooks, one sample at a time, no padding."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.measure.observe import accumulate as accumulate
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure, observe
from pytest_maxact.numbers.histogram import magnitudes
from pytest_maxact.record.reading import distributions_of
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings

LENGTHS = [5, 9, 3, 12, 7, 7, 4, 11, 6]


def record_of(model: Path, corpus: Path, **options: Any) -> Record:
    """The Record of a checkpoint on disk, by the road the gate takes."""
    settings = Settings(model=str(model), corpus=str(corpus), **options)
    return measure(prepare(settings), settings, None)


def as_parts_add_up(record: Record) -> Record:
    """Without what INT-8 costs every sample, for its scales are of all of the calibration split, which no part has."""
    sites = {name: replace(one, held=replace(distributions_of(one), int8=None)) for name, one in record.sites.items()}
    return replace(record, sites=sites)


def encoded(lengths: Sequence[int], vocabulary: int = 64, seed: int = 0) -> list[Encoded]:
    """Random token ids of the given lengths."""
    generator = torch.Generator().manual_seed(seed)
    ids = [tuple(torch.randint(4, vocabulary, (n,), generator=generator).tolist()) for n in lengths]
    return [
        Encoded(sample=Sample(id=f"s{i:02d}", category="ab"[i % 2], text=f"{i}"), ids=row) for i, row in enumerate(ids)
    ]


def loaded(model: nn.Module) -> LoadedModel:
    return LoadedModel(
        model=model,
        decoder=decoder_of(model),
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        device=torch.device("cpu"),
        files=None,
        left_out=(),
    )


def observed(model: Any, sequences: Sequence[Encoded], batch_tokens: int = 64) -> Observer:
    """A finished pass over encoded samples."""
    anatomy = resolve(model, model.config)
    return observe(loaded(model), anatomy, list(sequences), batch_tokens)


@torch.inference_mode()
def plain_maxima(
    model: Any, sequences: Sequence[Encoded], read: dict[str, tuple[nn.Module, str, Any]]
) -> dict[str, float]:
    """Largest |x| per site from plain hooks on the named modules: {site: (module, "input" | "output", index)}, one
    sample at a time.
    """
    maxima: dict[str, float] = {}
    handles = []

    def keep(site: str, tensor: torch.Tensor) -> None:
        maxima[site] = max(maxima.get(site, 0.0), tensor.abs().max().item())

    for site, (module, side, index) in read.items():
        if side == "input":
            handles.append(module.register_forward_pre_hook(lambda m, args, site=site: keep(site, args[0])))
        else:
            handles.append(
                module.register_forward_hook(
                    lambda m, args, out, site=site, index=index: keep(
                        site, out[index] if isinstance(out, tuple) else out
                    )
                )
            )
    for sequence in sequences:
        decoder_of(model)(input_ids=torch.tensor([sequence.ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    return maxima


def memory_limited(model: Any, most: int) -> Any:
    """The model, out of memory in its second layer on batches of more than `most` token slots."""

    def refuse(module: Any, args: Any) -> None:
        if args[0].shape[0] * args[0].shape[1] > most:
            raise torch.OutOfMemoryError("tried to allocate too much")

    model.layers[1].register_forward_pre_hook(refuse)
    return model


def dense(observer: Observer) -> dict[str, np.ndarray]:
    return {
        name: seen.dense_counts("calibration") + seen.dense_counts("evaluation")
        for name, seen in observer.accumulators.items()
    }


def within_one_step(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether some pairing moves no entry by more than one bin; bins below the float32 noise of a sum with cancellation
    count as one.
    """
    largest = magnitudes("bfloat16")[one.nonzero()[0][-1]]
    noise_bin = int(torch.tensor([3e-4 * largest], dtype=torch.bfloat16).view(torch.int16).item())
    one, other = (np.concatenate([[c[:noise_bin].sum()], c[noise_bin:]]).cumsum() for c in (one, other))
    return bool((one[:-1] <= other[1:]).all() and (other[:-1] <= one[1:]).all())
