"""A model whose layers lie on two devices: every site is counted where it lives, and nothing of it goes to the host.

The second device is torch's meta device, which computes nothing and refuses to give its tensors to another.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.observer import Observer
from tests.support import tiny
from tests.support.measuring import encoded

META = torch.device("meta")


def moved(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(META)
    return tuple(map(moved, value)) if isinstance(value, tuple) else value


def split(model: Any) -> nn.Module:
    """The decoder, all but its first layer on the second device, as accelerate's hooks would run it."""
    decoder: Any = decoder_of(model)
    for part in (*list(decoder.layers)[1:], decoder.norm):
        part.to(META)
        part.register_forward_pre_hook(
            lambda module, args, kwargs: (moved(args), {name: moved(value) for name, value in kwargs.items()}),
            with_kwargs=True,
            prepend=True,
        )
    found: nn.Module = decoder
    return found


@pytest.mark.parametrize("lengths", [[7, 7], [5, 9]], ids=["whole", "padded"])
def test_every_site_is_counted_on_the_device_of_its_layer(lengths: list[int]) -> None:
    model: Any = tiny.random_model("qwen3")
    decoder = split(model)
    anatomy = resolve(model, model.config, linear_inputs=True, attention=True)
    observer = Observer(decoder, anatomy)
    planned = PlannedBatch(split="evaluation", sequences=tuple(encoded(lengths)))
    with observer.attached(), torch.inference_mode():
        observer.forward(planned, torch.device("cpu"))
    places = {site.name: observer.accumulators[site.name]._staged_counts.device for site in anatomy.sites}
    on_host = {name for name, device in places.items() if device == torch.device("cpu")}
    assert {name.split(".")[1] for name in on_host if name.startswith("layers.")} == {"0"}
    assert {name for name, device in places.items() if device == META} == set(places) - on_host
    assert places["final_norm"] == META


def test_a_batch_is_brought_to_a_device_once_and_is_the_same_there() -> None:
    batch = collate(PlannedBatch(split="evaluation", sequences=tuple(encoded([5, 9]))), torch.device("cpu"))
    there = batch.on(META)
    assert there is batch.on(META)
    assert batch.on(torch.device("cpu")) is batch
    assert {tensor.device for tensor in (there.ids, there.mask, there.real, there.padding, there.sampled)} == {META}
    assert (there.starts, there.plan) == (batch.starts, batch.plan)
    assert replace(there, ids=batch.ids).on(torch.device("cpu")).ids is batch.ids
