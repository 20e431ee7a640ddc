"""What layers do that share their modules: one module runs for all of them, and each run counts for its own layer."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Tap
from pytest_maxact.measure.observe.layers import probe_layers, sketched
from pytest_maxact.numbers.probe import Probe
from tests.support.measuring import encoded
from tests.support.records import site

WIDTH, LAYERS, LENGTH = 8, 3, 6


class Block(nn.Module):
    """Changes the first channels, as many as it has runs behind it, and two more; gives a mapping where asked to."""

    def __init__(self, mapping: bool) -> None:
        super().__init__()
        self.runs, self.mapping = 0, mapping

    def forward(self, states: torch.Tensor) -> Any:
        changed = torch.zeros_like(states)
        changed[..., : 2 + self.runs % LAYERS] = 1.0 + self.runs % LAYERS
        return BaseModelOutput(last_hidden_state=changed) if self.mapping else changed


class Layer(nn.Module):
    def __init__(self, mapping: bool) -> None:
        super().__init__()
        self.block, self.idle = Block(mapping), nn.Identity()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        given = self.block(states)
        return self.idle(states) + (given[0] if self.block.mapping else given)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    def __init__(self, mapping: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, WIDTH)
        self.layer = Layer(mapping)

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> torch.Tensor:
        states: torch.Tensor = self.embed(input_ids)
        for number in range(LAYERS):
            self.layer.block.runs = number
            states = self.layer(states)
        return states


def probed(mapping: bool) -> dict[str, Probe]:
    torch.manual_seed(0)
    decoder = Decoder(mapping)
    taps = []
    for number in range(LAYERS):
        taps += [
            Tap(site=site(f"layers.{number}.hidden"), module=decoder.layer, firing=number),
            Tap(site=site(f"layers.{number}.attn_output"), module=decoder.layer.block, firing=number),
            Tap(site=site(f"layers.{number}.mlp_output"), module=decoder.layer.idle, reads="input", firing=number),
        ]
    anatomy = Anatomy(taps=tuple(taps), stripped=(), experts=(), hidden_size=WIDTH, layers=LAYERS)
    return probe_layers(decoder, anatomy, encoded((LENGTH,))[0], torch.device("cpu"))


@pytest.mark.parametrize("mapping", [False, True], ids=["tensor", "mapping"])
def test_every_run_of_a_shared_layer_counts_for_its_own_layer_and_a_block_read_by_its_input_is_not_taken_away(
    mapping: bool,
) -> None:
    probes = probed(mapping)
    changed = {name: probe.changed for name, probe in probes.items() if name.endswith("hidden")}
    assert changed == {
        f"layers.{number}.hidden": {"layer": (2 + number) / WIDTH, "attn_output": (2 + number) / WIDTH}
        for number in range(LAYERS)
    }
    for number in range(LAYERS):
        rows = torch.zeros(LENGTH, WIDTH)
        rows[:, : 2 + number] = 1.0
        assert probes[f"layers.{number}.attn_output"].sketch == tuple(sketched(rows).tolist())
