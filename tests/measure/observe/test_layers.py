"""What each layer does, on models whose answer is known: sound, dead in every part, in one block, or nearly."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel

from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.measure.observe.layers import TOKENS, probe_layers, sketched
from pytest_maxact.numbers.probe import Probe, turn
from tests.support.measuring import encoded
from tests.support.paths import TRAINED
from tests.support.zoo.configs import build, headless

SEQUENCE = encoded((40,))[0]


def probed(model: nn.Module, length: int = 40) -> dict[str, Probe]:
    anatomy = resolve(model, model.config)
    return probe_layers(decoder_of(model), anatomy, encoded((length,))[0], torch.device("cpu"))


def trained(dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    return AutoModel.from_pretrained(TRAINED, dtype=dtype).eval()


def least(probes: dict[str, Probe]) -> float:
    return min(share for probe in probes.values() for share in probe.changed.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_part_of_a_trained_model_changes_nearly_all_of_the_stream(dtype: torch.dtype) -> None:
    probes = probed(trained(dtype))
    for layer in range(6):
        assert set(probes[f"layers.{layer}.hidden"].changed) == {"layer", "attn_output", "mlp_output"}
    assert least(probes) > 0.9


@pytest.mark.parametrize(
    "model_type",
    ["gpt2", "gemma2", "gemma3n_text", "granite", "cohere", "falcon", "mamba", "rwkv", "bert", "qwen3_moe"],
)
def test_so_does_every_part_of_other_builds(model_type: str) -> None:
    """Post-norms, parallel branches, scales, state spaces and experts among them."""
    assert least(probed(headless(build(model_type)))) > 0.5


def quiet(model: nn.Module, names: tuple[str, ...], change: Callable[[torch.Tensor], None]) -> None:
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and any(part in name for part in names):
                change(weight)


def one_entry(weight: torch.Tensor) -> None:
    kept = weight[0, 0].item()
    weight.zero_()
    weight[0, 0] = kept


def one_channel(weight: torch.Tensor) -> None:
    kept = weight[5].clone()
    weight.zero_()
    weight[5] = kept


DEAD: dict[str, tuple[tuple[str, ...], Callable[[torch.Tensor], None]]] = {
    "all projections x 1e-6": (("_proj",), lambda weight: weight.mul_(1e-6)),
    "all but one entry zero": (("_proj",), one_entry),
    "one live channel": (("o_proj", "down_proj"), one_channel),
    "attention x 1e-6": (("o_proj",), lambda weight: weight.mul_(1e-6)),
    "values x 1e-7 in one layer": (("layers.3.self_attn.v_proj",), lambda weight: weight.mul_(1e-7)),
    "one down_proj x 1e-6": (("layers.3.mlp.down_proj",), lambda weight: weight.mul_(1e-6)),
    "one gate_proj zero": (("layers.2.mlp.gate_proj",), lambda weight: weight.zero_()),
}


@pytest.mark.parametrize("how", DEAD)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_what_does_nothing_changes_next_to_nothing(how: str, dtype: torch.dtype) -> None:
    model = trained(dtype)
    quiet(model, *DEAD[how])
    assert least(probed(model)) < 0.02


def test_a_norm_that_divides_by_a_huge_number_leaves_nothing_to_blocks() -> None:
    model = trained()
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 1e30
    assert least(probed(model)) == 0.0


def test_a_layer_that_adds_in_place_is_seen_to_change_its_input() -> None:
    model = trained()
    layer = model.layers[2]  # type: ignore[index]
    forward = layer.forward

    def in_place(hidden_states: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        return hidden_states.copy_(forward(hidden_states.clone(), *args, **kwargs))

    layer.forward = in_place
    assert least(probed(model)) > 0.9


def test_looking_leaves_no_hook_and_reads_no_more_than_it_says() -> None:
    model = trained()
    probes = probed(model, 300)
    assert {probe.tokens for probe in probes.values()} == {TOKENS}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_sketch_keeps_the_cosine_of_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn((64, 96), generator=generator)
    other = torch.randn((64, 96), generator=generator)
    one = sketched(rows).tolist()
    assert turn(one, one) == pytest.approx(0, abs=1e-6)
    assert turn(one, sketched(rows * 50).tolist()) == pytest.approx(0, abs=1e-6), "of any size"
    assert turn(one, sketched(-rows).tolist()) == pytest.approx(2, abs=1e-6)
    assert turn(one, sketched(other).tolist()) == pytest.approx(1, abs=0.25)
    near = torch.nn.functional.normalize(rows, dim=1) + 0.5 * torch.nn.functional.normalize(other, dim=1)
    assert turn(one, sketched(near).tolist()) == pytest.approx(1 - 1 / np.sqrt(1.25), abs=0.1)
    rows[3] = torch.nan
    rows[5] = 0.0
    assert turn(one, sketched(rows).tolist()) == pytest.approx(0, abs=0.1)


def test_the_probe_of_a_measurement_is_of_its_longest_sample(checkpoint: Path, corpus: Path) -> None:
    from tests.support.measuring import record_of

    record = record_of(checkpoint, corpus)
    lengths = {name: tokens for name, _, _, tokens in record.provenance.samples}
    longest = min(lengths, key=lambda name: (-lengths[name], name))
    for reading in record.sites.values():
        if reading.site.kind in ("hidden", "attn_output", "mlp_output"):
            assert reading.probe is not None
            assert (reading.probe.sample, reading.probe.tokens) == (longest, lengths[longest])
        else:
            assert reading.probe is None
