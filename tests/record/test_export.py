"""Files for quantization tools: against plain hooks over the calibration samples, against compressed-tensors, and what
is refused.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme
from compressed_tensors.quantization.utils.helpers import calculate_qparams, generate_gparam
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel

from pytest_maxact.errors import InputError
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.export import smoothquant, static_scales, write
from pytest_maxact.record.file import load, save
from pytest_maxact.record.reading import SiteReading, distributions_of
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from tests.support import records, tiny
from tests.support.low_bits import model_of
from tests.support.measuring import record_of

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def deployed(checkpoint: Path, corpus: Path) -> Record:
    """A Record of the random Qwen3 that observed the inputs of its linear layers."""
    return record_of(checkpoint, corpus, sites="deploy")


@pytest.fixture(scope="module")
def routed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """A checkpoint of latent attention, routed and shared experts: sites whose linear layers are given several tensors,
    and its Record.
    """
    folder = tiny.save(tmp_path_factory.mktemp("routed"), model_of("deepseek_v3"))
    return folder, record_of(folder, corpus, sites="deploy")


@torch.inference_mode()
def by_plain_hooks(folder: Path, corpus: Path, record: Record) -> dict[str, Floats]:
    """Largest magnitude per channel of what every module that is a linear layer is given: the calibration samples, one
    at a time, without padding.
    """
    model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    calibration = {sample for sample, _, split, _ in record.provenance.samples if split == "calibration"}
    assert 0 < len(calibration) < len(record.provenance.samples)
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, given: torch.Tensor) -> None:
        amax = given.reshape(-1, given.shape[-1]).abs().amax(0)
        seen[name] = torch.maximum(seen[name], amax) if name in seen else amax

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda module, args, name=name: keep(name, args[0]))
    for sequence in prepare(Settings(model=str(folder), corpus=str(corpus))).sequences:
        if sequence.sample.id in calibration:
            model(input_ids=torch.tensor([sequence.ids]), use_cache=False)
    return {name: amax.numpy() for name, amax in seen.items()}


def with_input(record: Record, site: str, **changes: Any) -> Record:
    """A Record with one reading changed."""
    return replace(record, sites={**record.sites, site: replace(record[site], **changes)})


def with_channels(record: Record, site: str, channels: Channels | None) -> Record:
    """A Record with other channels at one site."""
    return with_input(record, site, held=records.holding(record[site], channels=channels).held)


def of_channels(record: Record, dtype: str, amax: float) -> Record:
    """A Record of one site, one part of which was given channels up to this magnitude."""
    channels = Channels({"self_attn.q_proj": np.asarray([0.0, amax / 4, amax], np.float32)})
    reading = replace(records.holding(record["layers.0.qkv_in"], channels=channels), dtype=dtype)
    return replace(record, sites={"layers.0.qkv_in": reading})


# -- channels
# ----------------------------------------------------------------------------------------------------


def test_every_linear_layer_has_the_channels_that_plain_hooks_see(
    checkpoint: Path, corpus: Path, deployed: Record
) -> None:
    found, wanted = smoothquant(deployed), by_plain_hooks(checkpoint, corpus, deployed)
    assert found.keys() == wanted.keys()
    assert len(found) == 7 * tiny.LAYERS
    for path, channels in found.items():
        assert channels.dtype == np.float32
        np.testing.assert_allclose(channels, wanted[path], rtol=1e-4, atol=1e-6)


def test_layers_of_one_site_that_are_given_different_tensors_each_have_their_own(
    corpus: Path, routed: tuple[Path, Record]
) -> None:
    folder, record = routed
    found, wanted = smoothquant(record), by_plain_hooks(folder, corpus, record)
    assert len(distributions_of(record["layers.2.qkv_in"]).channels.parts) > 1  # type: ignore[union-attr]
    for path, channels in found.items():
        if path in wanted:
            np.testing.assert_allclose(channels, wanted[path], rtol=1e-4, atol=1e-6, err_msg=path)
    apart = {path for path in found if path not in wanted}
    assert apart == {f"layers.{layer}.mlp.experts.{name}" for layer in (1, 2) for name in ("gate_up_proj", "down_proj")}
    np.testing.assert_allclose(
        found["layers.1.mlp.experts.gate_up_proj"], found["layers.1.mlp.shared_experts.gate_proj"], rtol=1e-4, atol=1e-6
    )


def test_a_record_read_back_exports_the_same(deployed: Record, tmp_path: Path) -> None:
    save(deployed, tmp_path / "saved.safetensors")
    again = load(tmp_path / "saved.safetensors")
    for one, other in ((smoothquant(deployed), smoothquant(again)), scales_of(deployed, again)):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)


def scales_of(*records: Record) -> Any:
    return tuple(static_scales(record, "FP8") for record in records)


def test_a_channel_that_is_zero_throughout_stays_zero(deployed: Record) -> None:
    assert smoothquant(of_channels(deployed, "float32", 8.0))["layers.0.self_attn.v_proj"].tolist() == [
        0.0,
        2.0,
        8.0,
    ]


# -- scales
# ----------------------------------------------------------------------------------------------------


def test_every_linear_layer_has_the_scale_of_what_plain_hooks_see(
    checkpoint: Path, corpus: Path, deployed: Record
) -> None:
    wanted = by_plain_hooks(checkpoint, corpus, deployed)
    formulas: dict[str, tuple[str, Any]] = {
        "FP8": ("input_scale", lambda amax: amax / 448),
        "W8A8_STATIC": ("input_scale", lambda amax: amax / 127),
        "nvfp4": ("input_global_scale", lambda amax: 2688 / amax),
    }
    for scheme, (suffix, formula) in formulas.items():
        found = static_scales(deployed, scheme)
        assert found.keys() == {f"{path}.{suffix}" for path in wanted}
        for path, channels in wanted.items():
            scale = found[f"{path}.{suffix}"]
            assert (scale.dtype, scale.shape) == (np.float32, (1,))
            assert scale[0] == pytest.approx(float(formula(channels.max())), rel=1e-4)


AMAXES = (1.0, 0.37, 3.14159, 447.0, 30000.0, 1e-3, 3e-5, 6e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("amax", AMAXES)
def test_scales_are_bit_for_bit_those_that_compressed_tensors_calibrates_in_the_dtype_of_the_tensor(
    amax: float, dtype: str, deployed: Record
) -> None:
    top = torch.tensor(amax, dtype=DTYPES[dtype])
    record = of_channels(deployed, dtype, top.item())
    args = preset_name_to_scheme("FP8", ["Linear"]).input_activations
    fp8, _ = calculate_qparams(-top, top, args)
    wanted = {
        "FP8": fp8.float().item(),
        "NVFP4": generate_gparam(-top, top).float().item(),
        "W8A8_STATIC": (top / 127).float().item() or torch.finfo(top.dtype).eps,
    }
    for scheme, scale in wanted.items():
        found = static_scales(record, scheme)
        assert len(found) == 3
        assert {float(value[0]) for value in found.values()} == {scale}, scheme


# -- files
# ----------------------------------------------------------------------------------------------------


def test_a_file_holds_what_was_written_with_its_metadata(deployed: Record, tmp_path: Path) -> None:
    tensors = smoothquant(deployed)
    write(tensors, tmp_path / "channels.safetensors", {"model": "a", "kind": "smoothquant"})
    found = load_file(tmp_path / "channels.safetensors")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in tensors.items()
    }
    with safe_open(tmp_path / "channels.safetensors", framework="numpy") as file:
        assert {name: json.loads(value) for name, value in file.metadata().items()} == {
            "maxact": {"model": "a", "kind": "smoothquant"}
        }
    assert [path.name for path in tmp_path.iterdir()] == ["channels.safetensors"]


def test_the_same_tensors_give_the_same_bytes_whatever_their_order(deployed: Record, tmp_path: Path) -> None:
    tensors: Mapping[str, Floats] = smoothquant(deployed)
    metadata = {"model": "a", "kind": "smoothquant", "revision": "b"}
    contents = set()
    for turn in range(6):
        step = -1 if turn % 2 else 1
        write(dict(list(tensors.items())[::step]), tmp_path / "f", dict(list(metadata.items())[::step]))
        contents.add((tmp_path / "f").read_bytes())
    assert len(contents) == 1


def test_rows_and_columns_of_an_array_are_written_as_they_are_seen(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write({"turned": array.T, "thinned": array[:, ::2]}, tmp_path / "f", {})
    found = load_file(tmp_path / "f")
    assert found["turned"].tolist() == array.T.tolist()
    assert found["thinned"].tolist() == array[:, ::2].tolist()


def test_a_place_that_cannot_be_written_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for target in (tmp_path / "missing" / "f", tmp_path / "taken"):
        with pytest.raises(InputError, match=re.escape(f"cannot write {target}: ")):
            write({"a": np.zeros(1, np.float32)}, target, {})
    assert [path.name for path in tmp_path.rglob("*")] == ["taken"]


# -- what is refused
# ----------------------------------------------------------------------------------------------------


def test_a_record_that_observed_no_linear_inputs_says_how_to_measure_them(saved: Path) -> None:
    for exported in (smoothquant, lambda record: static_scales(record, "FP8")):
        with pytest.raises(InputError, match="no inputs of linear layers\n  measure again with `sites` deploy"):
            exported(load(saved))


@pytest.mark.parametrize("scheme", ["W8A8", "FP8_DYNAMIC", "W4A16", "FP16", "MXFP4"])
def test_a_scheme_without_static_scales_is_refused_with_those_that_have_them(scheme: str, deployed: Record) -> None:
    having = ", ".join(name for name, one in SCHEMES.items() if one.activations and one.needs_calibration)
    with pytest.raises(InputError, match=f"{scheme} has no static scales .*\n  there are {having}$"):
        static_scales(deployed, scheme)
    with pytest.raises(InputError, match="no scheme called 'FP9'"):
        static_scales(deployed, "FP9")


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_an_input_that_was_zero_or_not_finite_makes_no_scale(value: float, deployed: Record) -> None:
    amax = np.asarray([0.0, 0.0 if value == 0.0 else 1.0, value], np.float32)
    record = with_channels(deployed, "layers.1.down_in", Channels({"mlp.down_proj": amax}))
    for exported in (smoothquant, lambda record: static_scales(record, "NVFP4")):
        with pytest.raises(
            InputError, match=rf"layers\.1\.down_in: the largest magnitude that layers\.1\.mlp\.down_proj .* is {value}"
        ):
            exported(record)


def test_channels_that_the_record_lacks_are_not_guessed(deployed: Record) -> None:
    reading: SiteReading = deployed["layers.1.qkv_in"]
    changes: list[dict[str, Any]] = [
        {"held": records.holding(reading, channels=None).held},
        {"shared": {}},
        {"shared": {**reading.shared, "layers.1.self_attn.v_proj": "self_attn.v_proj"}},
    ]
    for change in changes:
        with pytest.raises(
            InputError, match=r"layers\.1\.qkv_in: the Record does not hold the channels of every linear layer there"
        ):
            smoothquant(with_input(deployed, "layers.1.qkv_in", **change))


def test_exports_need_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, pytest_maxact.record.export; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
