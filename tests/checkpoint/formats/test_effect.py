"""An artifact made of the trained checkpoint by the arithmetic of our schemes, run as its files say, predicts bit for
bit what was predicted for it.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from compressed_tensors.quantization import QuantizationStatus, preset_name_to_scheme
from compressed_tensors.quantization.lifecycle.forward import set_forward_quantized

from pytest_maxact.checkpoint.formats.given import of_experts, of_fused
from pytest_maxact.checkpoint.load import LoadedModel, load
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.effect.served import Served, served
from pytest_maxact.measure.effect.simulate import Simulation
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.export import static_scales
from pytest_maxact.settings.settings import Settings
from tests.support.exports import compressed, fp8_block, modelopt
from tests.support.exports.source import Tensors, source, tensors_of
from tests.support.paths import TRAINED
from tests.support.tiny import sentences, write_corpus
from tests.support.trained import change_weights

IDS = torch.randint(4, 1500, (3, 40), generator=torch.Generator().manual_seed(7))
WEIGHTS_ALONE = ["W4A16", "W8A16", "MXFP4A16", "MXFP8A16"]
DYNAMIC = ["W8A8", "FP8_DYNAMIC", "MXFP4", "MXFP8", "W4A8", "W4AFP8"]
WIDE = {"W4A16", "W8A16", "W4A8", "W4AFP8"}
"""In groups of 128, which 320 inputs of the last projection of a layer do not divide."""


def opened(folder: Path) -> LoadedModel:
    settings = Settings(model=str(folder))
    return load(locate(settings), settings)


def taps_of(loaded: LoadedModel) -> list[Tap]:
    model: Any = loaded.headed
    return resolve(model, model.config, True).linears


@pytest.fixture(scope="module")
def origin() -> LoadedModel:
    return opened(TRAINED)


def exported(folder: Path, name: str) -> Path:
    last = tuple(f"model.layers.{layer}.mlp.down_proj" for layer in range(6)) if name in WIDE else ()
    return compressed.export(folder, name, TRAINED, ignore=last)


@torch.no_grad()
def under(loaded: LoadedModel, name: str, **readings: Any) -> torch.Tensor:
    """What the source predicts under a scheme, as `--maxact-effect` runs it."""
    model: Any = loaded.headed
    taps = taps_of(loaded)
    kept = {tap.site.name for tap in taps if name in WIDE and tap.site.kind == "down_in"}
    with Simulation(model, SCHEMES[name], taps, readings, kept).running():
        return model(input_ids=IDS % model.config.vocab_size).logits  # type: ignore[no-any-return]


def served_of(loaded: LoadedModel) -> Served | None:
    assert loaded.headed is not None
    assert loaded.files is not None
    return served(loaded.headed, loaded.files, taps_of(loaded))


@torch.no_grad()
def as_served(loaded: LoadedModel) -> torch.Tensor:
    how = served_of(loaded)
    with how.running() if how else nullcontext():
        return plain(loaded)


@torch.no_grad()
def plain(loaded: LoadedModel) -> torch.Tensor:
    model: Any = loaded.headed
    return model(input_ids=IDS % model.config.vocab_size).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", [*WEIGHTS_ALONE, *DYNAMIC])
def test_it_predicts_what_its_source_does_under_the_scheme(name: str, origin: LoadedModel, tmp_path: Path) -> None:
    artifact = opened(exported(tmp_path / "m", name))
    assert (served_of(artifact) is None) == (name in WEIGHTS_ALONE)
    wanted = under(origin, name)
    assert torch.equal(as_served(artifact), wanted)
    assert torch.equal(plain(artifact), wanted) == (name in WEIGHTS_ALONE)
    assert not torch.equal(wanted, plain(origin))


@torch.no_grad()
def run_by_compressed_tensors(loaded: LoadedModel, name: str, scales: dict[str, torch.Tensor]) -> torch.Tensor:
    """What a model predicts whose projections that library runs as layers with quantized inputs, sample by sample."""
    model: Any = loaded.headed
    for path, module in model.named_modules():
        if path.endswith("_proj"):
            module.quantization_scheme = preset_name_to_scheme(name, ["Linear"])
            module.quantization_status = QuantizationStatus.COMPRESSED
            for part in ("input_scale", "input_global_scale"):
                setattr(module, part, scales.get(f"{path}.{part}"))
            set_forward_quantized(module)
    return torch.cat([model(input_ids=ids[None]).logits for ids in IDS])


def in_16_bits(tensors: Tensors) -> None:
    """Input scales as the library keeps them beside a model in 16 bits."""
    tensors.update({name: scale.bfloat16() for name, scale in tensors.items() if name.endswith("input_scale")})


@pytest.mark.parametrize("name", ["W8A8", "FP8", "NVFP4", "MXFP4"])
def test_it_predicts_what_compressed_tensors_makes_it_predict(name: str, tmp_path: Path) -> None:
    folder = exported(tmp_path / "m", name)
    if name == "FP8":
        change_weights(folder, in_16_bits)
    artifact = opened(folder)
    how, model = served_of(artifact), artifact.headed
    assert how is not None
    assert model is not None
    found = []
    for ids in IDS:
        with torch.no_grad(), how.running():
            found.append(model(input_ids=ids[None]).logits)
    assert torch.equal(torch.cat(found), run_by_compressed_tensors(artifact, name, tensors_of(folder)))


def test_a_static_scale_of_the_calibration_maximum_predicts_what_the_scheme_does(tmp_path: Path) -> None:
    """With readings of the source, and scales exported from them."""
    texts = write_corpus(tmp_path / "c.jsonl", sentences([30, 41, 25, 37, 28, 33]))
    settings = Settings(model=str(TRAINED), corpus=str(texts), sites="deploy", arithmetic="native")
    record = measure(prepare(settings), settings, None)
    folder = compressed.export(tmp_path / "m", "FP8", TRAINED)
    scales = static_scales(record, "FP8")
    change_weights(
        folder,
        lambda tensors: tensors.update(
            {
                name: torch.from_numpy(scales[name.removeprefix("model.")]).bfloat16()
                for name in tensors
                if name.endswith("input_scale")
            }
        ),
    )
    assert torch.equal(as_served(opened(folder)), under(opened(TRAINED), "FP8", **record.sites))


@torch.no_grad()
def by_hand(loaded: LoadedModel, quantized: Callable[[str, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """What a model predicts whose projections are given what a function of their names makes of their inputs."""
    assert loaded.headed is not None
    handles = [
        module.register_forward_pre_hook(lambda module, args, name=name: (quantized(name, args[0]),))
        for name, module in loaded.headed.named_modules()
        if name.endswith("_proj")
    ]
    try:
        return plain(loaded)
    finally:
        for handle in handles:
            handle.remove()


def fp8(x: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
    inside = (x.float() / scale).clamp(-448.0, 448.0)
    return (inside.to(torch.float8_e4m3fn).float() * scale).to(x.dtype)


def test_blocks_in_fp8_have_inputs_by_groups_of_a_block_in_float32(tmp_path: Path) -> None:
    artifact = opened(fp8_block.export(tmp_path / "m", source(tmp_path / "origin", num_hidden_layers=1)))

    def quantized(name: str, x: torch.Tensor) -> torch.Tensor:
        groups = x.unflatten(-1, (-1, 128))
        return fp8(groups, groups.abs().amax(-1, keepdim=True).float() / 448.0).flatten(-2)

    assert torch.equal(as_served(artifact), by_hand(artifact, quantized))


def test_static_scales_of_modelopt_are_those_of_the_files_and_one_for_what_is_fused(tmp_path: Path) -> None:
    folder = modelopt.export(tmp_path / "m", "FP8", source(tmp_path / "origin", num_hidden_layers=1))
    narrow = "model.layers.0.self_attn.k_proj.input_scale"
    change_weights(folder, lambda tensors: tensors.update({narrow: torch.tensor(1e-4)}))
    artifact = opened(folder)
    wanted = by_hand(artifact, lambda name, x: fp8(x, torch.tensor(modelopt.REACH / 448.0)))
    assert torch.equal(as_served(artifact), wanted)
    assert not torch.equal(wanted, plain(artifact))


def test_of_scales_that_multiply_what_is_fused_has_the_largest_and_experts_the_smallest() -> None:
    wide, narrow = ({"input_global_scale": torch.tensor([scale])} for scale in (100.0, 500.0))
    assert of_fused([wide, narrow]) == narrow
    assert of_experts([wide, narrow]) == wide
    static = {"input_scale": torch.tensor(0.1), "input_zero_point": torch.tensor(3)}
    assert of_fused([{"input_scale": torch.tensor(0.01)}, static]) == static
    assert of_experts([{}, {}]) == {}


def test_a_static_scale_that_reaches_too_little_changes_what_is_predicted(tmp_path: Path) -> None:
    wide, narrow = (
        opened(compressed.export(tmp_path / str(reach), "FP8", TRAINED, reach=reach)) for reach in (64.0, 0.1)
    )
    assert torch.equal(plain(wide), plain(narrow))
    shift = [(as_served(one) - plain(one)).float().norm() for one in (wide, narrow)]
    assert shift[1] > 3 * shift[0]


@pytest.mark.parametrize("preset", ["W8A8", "FP8"])
def test_experts_that_lie_one_by_one_are_given_what_each_of_them_would_be(preset: str, tmp_path: Path) -> None:
    origin = source(tmp_path / "origin", "qwen3_moe", num_hidden_layers=1)
    artifact = opened(compressed.export(tmp_path / "m", preset, origin))
    if preset == "W8A8":
        assert torch.equal(as_served(artifact), under(opened(origin), preset))
    assert not torch.equal(as_served(artifact), plain(artifact))


def test_a_static_scale_that_is_called_for_and_not_there_is_named(tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", "FP8", TRAINED)
    name = "model.layers.2.mlp.up_proj.input_scale"
    change_weights(folder, lambda tensors: tensors.pop(name))
    with pytest.raises(MeasureError, match=r"model\.layers\.2\.mlp\.up_proj\.weight has no input_scale beside it"):
        served_of(opened(folder))
