"""A plain gate of an artifact holds its static scales, of inputs and of the KV cache, to what real text reaches: one
that was calibrated too narrowly is red by name, and nothing else of the gate is other than without.
"""

import json
from datetime import date
from pathlib import Path

import pytest
from compressed_tensors.quantization import QuantizationArgs

from tests.support.exports import compressed
from tests.support.gate_runs import run_gate
from tests.support.paths import TRAINED
from tests.support.static_scales import calibrated
from tests.support.trained import change_weights

SHORT = ("--maxact-max-samples=12", "--maxact-max-seq-len=64", "--maxact-family=generic")
DOWN = "model.layers.3.mlp.down_proj.input_scale"
KEYS = "model.layers.2.self_attn.k_scale"


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """FP8, with scales that reach what these samples reach."""
    folder = compressed.export(tmp_path / "sound", "FP8", TRAINED, kv_cache=True)
    low_bits = calibrated().provenance.low_bits
    assert low_bits is not None
    known = {one.tensor: one.stated for one in low_bits.static}
    change_weights(
        folder, lambda tensors: [tensors[name].fill_(stated) for name, stated in known.items()]
    )  # fmt: skip
    return folder


@pytest.fixture
def sound_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """W8A8 with static inputs, of which the widest reaches not 100."""
    preset = compressed.preset_name_to_scheme

    def static(name: str, targets: list[str]) -> object:
        scheme = preset(name, targets)
        scheme.input_activations = QuantizationArgs(num_bits=8, type="int", strategy="tensor", dynamic=False)
        return scheme

    monkeypatch.setattr(compressed, "preset_name_to_scheme", static)
    folder = compressed.export(tmp_path / "int8", "W8A8", TRAINED)
    low_bits = calibrated("int8").provenance.low_bits
    assert low_bits is not None
    known = {one.tensor: one.stated for one in low_bits.static if one.part == "input"}
    change_weights(
        folder, lambda tensors: [tensors[name].fill_(stated) for name, stated in known.items()]
    )  # fmt: skip
    return folder


def narrowed(folder: Path, name: str, factor: float) -> Path:
    change_weights(folder, lambda tensors: tensors[name].mul_(factor))
    return folder


def test_sound_scales_are_green_and_nothing_is_said_to_be_unchecked(sound: Path, pytester: pytest.Pytester) -> None:
    run_gate(
        pytester, f"--maxact-model={sound}", *SHORT, exit=pytest.ExitCode.OK,
        says=["54 static ones held against what was met"], lacks=["unchecked: all", "NOT checked"],
    )  # fmt: skip


@pytest.mark.parametrize(("name", "site"), [(DOWN, "layers.3.down_in"), (KEYS, "layers.2.k")])
def test_one_that_is_too_narrow_is_red_and_told_with_what_it_reaches_and_cuts(
    name: str, site: str, sound: Path, pytester: pytest.Pytester
) -> None:
    folder = narrowed(sound, name, 1 / 20)
    run_gate(
        pytester, f"--maxact-model={folder}", *SHORT, "--maxact-json-report=r.json", exit=pytest.ExitCode.TESTS_FAILED,
        report=[f"FAILED *maxact::weights.{name}::static_overflow*"],
        says=[f"{name} (layer {name.split('.')[2]})", "(fp8_e4m3) it reaches ", f", and {site} ", "are clipped, SQNR",
              "a scale of ", "would give", "maxact explain weights"],
    )  # fmt: skip
    checks = json.loads((pytester.path / "r.json").read_text())["checkpoints"][0]["checks"]
    red = {one["site"] for one in checks if one["passed"] is False}
    assert red == {"weights", f"weights.{name}"}, "and no other check is"


def test_so_it_is_in_integers(sound_int8: Path, pytester: pytest.Pytester) -> None:
    run_gate(
        pytester, f"--maxact-model={sound_int8}", *SHORT, exit=pytest.ExitCode.OK,
        says=["42 static ones held"], lacks=["unchecked: all"],
    )  # fmt: skip
    folder = narrowed(sound_int8, DOWN, 1 / 20)
    run_gate(
        pytester, f"--maxact-model={folder}", *SHORT, exit=pytest.ExitCode.TESTS_FAILED,
        report=[f"FAILED *maxact::weights.{DOWN}::static_overflow*"], says=["(int8) it reaches", "layers.3.down_in"],
    )  # fmt: skip


def test_so_it_is_against_a_source(sound: Path, pytester: pytest.Pytester) -> None:
    folder = narrowed(sound, DOWN, 1 / 20)
    run_gate(
        pytester, f"--maxact-model={folder}", f"--maxact-source={TRAINED}", *SHORT, exit=pytest.ExitCode.TESTS_FAILED,
        report=[f"FAILED *maxact::weights.{DOWN}::static_overflow*"], lacks=["NOT checked"],
    )  # fmt: skip


def test_a_baseline_without_such_scales_is_compared_as_ever(sound: Path, pytester: pytest.Pytester) -> None:
    options = (*SHORT, "--maxact-sites=paper", "--maxact-save=before.safetensors")
    run_gate(pytester, f"--maxact-model={sound}", *options, exit=pytest.ExitCode.OK, says=["static scales unchecked"])
    run_gate(
        pytester, f"--maxact-model={sound}", "--maxact-baseline=before.safetensors", *SHORT, exit=pytest.ExitCode.OK,
        says=["54 static ones held"], lacks=["unchecked: all"],
    )  # fmt: skip


def test_what_is_kept_of_a_gate_without_is_not_taken_for_one_with(sound: Path, pytester: pytest.Pytester) -> None:
    folder = narrowed(sound, DOWN, 1 / 20)
    common = (f"--maxact-model={folder}", *SHORT, "--maxact-cache=kept")
    run_gate(pytester, *common, "--maxact-sites=paper", exit=pytest.ExitCode.OK)
    run_gate(pytester, *common, exit=pytest.ExitCode.TESTS_FAILED)
    run_gate(pytester, *common, exit=pytest.ExitCode.TESTS_FAILED, report=[f"FAILED *maxact::weights.{DOWN}::*"])


def test_a_waiver_names_the_scale(sound: Path, pytester: pytest.Pytester) -> None:
    folder = narrowed(sound, DOWN, 1 / 20)
    waiver = f"{{site: weights.{DOWN}, metric: 'static_*', reason: known, owner: me, until: {date.today().year}-12-31}}"
    run_gate(
        pytester, f"--maxact-model={folder}", *SHORT, "--maxact-limits=limits.yaml", exit=pytest.ExitCode.OK,
        files={"limits.yaml": f"version: 1\nextends: builtin\nwaive: [{waiver}]\n"},
    )  # fmt: skip
