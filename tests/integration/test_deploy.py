"""The gate for low bits as its users run it: a flag makes checks, a Record can be judged again, and what cannot be done
is said at once.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from pytest_maxact.record.effect import KEPT
from pytest_maxact.record.file import load
from tests.support import tiny
from tests.support.gate_runs import run_gate
from tests.support.headed import headed
from tests.support.quantized import in_fp8
from tests.support.zoo.configs import build

RANDOM = "version: 1\nextends: builtin\ngeneric: {min_margin: null, min_changed: null}\n"
"""These models are random, and predict nothing."""
LINEAR = 4 * tiny.LAYERS
OTHERS = 2 * (4 * tiny.LAYERS + 2 + LINEAR) + 4
"""Checks beside fitness: of every site a maximum and a non-finite count; what the weights hold, in three checks, and
that predictions are finite.
"""


def gate(pytester: pytest.Pytester, model: Path, corpus: Path, *arguments: str, **outcomes: int) -> pytest.RunResult:
    common = (f"--maxact-model={model}", f"--maxact-corpus={corpus}", "--maxact-family=generic")
    return run_gate(pytester, *common, "--maxact-limits=own.yaml", *arguments, files={"own.yaml": RANDOM}, **outcomes)


# Checks


def test_fitness_is_a_check_per_linear_input_and_quantity_beside_the_family(
    pytester: pytest.Pytester, sound: Path, corpus: Path
) -> None:
    result = gate(pytester, sound, corpus, "--maxact-deploy=W8A8", "--co", "-q")
    listed = [line for line in result.outlines if line.startswith("maxact::")]
    fitness = [line for line in listed if "::W8A8." in line]
    assert len(fitness) == 4 * LINEAR + 1
    assert {
        "maxact::layers.2.down_in::W8A8.sqnr_db",
        "maxact::layers.0.o_in::W8A8.weight_sqnr_db",
        "maxact::model::W8A8.mean_kl",
    } <= set(fitness)
    assert len(listed) - len(fitness) == OTHERS, "linear inputs must be finite too"


def test_a_sound_model_passes_and_the_report_says_what_it_ships_in(
    pytester: pytest.Pytester, sound: Path, corpus: Path
) -> None:
    result = gate(pytester, sound, corpus, "--maxact-deploy=W8A8,FP8_DYNAMIC,FP16")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "scheme * fits inputs dB *",
            "W8A8 * yes *",
            "ships in W8A8 (top-1 *%), FP8_DYNAMIC (top-1*",
        ]
    )


def test_one_loud_channel_fails_at_its_site_and_the_report_says_what_would_help(
    pytester: pytest.Pytester, loud: Path, corpus: Path
) -> None:
    saved = pytester.path / "loud.record"
    result = gate(pytester, loud, corpus, "--maxact-deploy=W8A8", f"--maxact-save={saved}")
    assert result.ret == 1
    failed = {line.split(" ")[1].split("maxact::")[1] for line in result.outlines if line.startswith("FAILED")}
    assert {name.split("::")[0] for name in failed if not name.startswith("model")} == {"layers.2.down_in"}
    assert "layers.2.down_in::W8A8.flush_to_zero" in failed
    text = " ".join(result.stdout.str().split())
    assert "passes site by site with down_in of layer 2 in 16 bits (1 of 12 linear inputs); mean KL is then" in text
    assert "smoothing (alpha 0.5) would bring the largest channel" in text
    record = load(saved)
    assert record.effects["W8A8" + KEPT].kept == ("layers.2.down_in",)
    assert record.effects["W8A8" + KEPT].mean_kl < record.effects["W8A8"].mean_kl


def test_without_the_flag_fitness_is_reported_and_fails_nothing(
    pytester: pytest.Pytester, loud: Path, corpus: Path
) -> None:
    result = gate(pytester, loud, corpus, "--maxact-schemes=W8A8", passed=OTHERS)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["ships in none of these formats as it is (reported; --maxact-deploy makes checks*"])


def test_a_saved_record_is_judged_again_without_the_model(pytester: pytest.Pytester, loud: Path, corpus: Path) -> None:
    saved = pytester.path / "loud.record"
    first = gate(pytester, loud, corpus, "--maxact-schemes=W8A8", "--maxact-effect=W8A8", f"--maxact-save={saved}")
    assert first.ret == 0
    again = run_gate(pytester, f"--maxact-replay={saved}", "--maxact-deploy=W8A8")
    assert again.ret == 1
    again.stdout.fnmatch_lines(["*layers.2.down_in::W8A8.flush_to_zero*"])
    lacking = run_gate(pytester, f"--maxact-replay={saved}", "--maxact-deploy=W8A8,NVFP4")
    assert lacking.ret == 4
    lacking.stderr.fnmatch_lines(
        [
            "*--maxact-deploy NVFP4: the Record * was not measured under it*",
            "*measure again with --maxact-effect W8A8,NVFP4*",
        ]
    )


def test_a_record_whose_predictions_were_not_compared_cannot_be_judged_for_a_scheme(
    pytester: pytest.Pytester, sound: Path, corpus: Path
) -> None:
    saved = pytester.path / "sound.record"
    result = gate(pytester, sound, corpus, "--maxact-schemes=W8A8", f"--maxact-save={saved}")
    result.stdout.fnmatch_lines(["fits W8A8 site by site, predictions not compared (--maxact-effect=W8A8)*"])
    refused = run_gate(pytester, f"--maxact-replay={saved}", "--maxact-deploy=W8A8")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["*holds nothing of its effect on predictions*"])


def test_a_record_without_linear_inputs_cannot_be_judged_for_a_scheme(pytester: pytest.Pytester, saved: Path) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", "--maxact-deploy=W8A8")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--maxact-deploy W8A8: the Record * was not measured under it*"])
    result = run_gate(pytester, f"--maxact-replay={saved}", "--maxact-deploy=FP16")
    assert result.ret == 4


def test_a_users_own_test_asks_for_a_scheme_at_a_site_and_for_its_effect(
    pytester: pytest.Pytester, loud: Path, corpus: Path
) -> None:
    pytester.makepyfile("""
        def test_calm(maxact_check):
            maxact_check("layers.0.down_in", "W8A8.sqnr_db", at_least=20)

        def test_loud(maxact_check):
            maxact_check("layers.2.down_in", "W8A8.flush_to_zero", at_most=0.5)

        def test_predictions(maxact_check):
            maxact_check("model", "W8A8.mean_kl", at_most=1e-9)
        """)
    result = gate(pytester, loud, corpus, "--maxact-effect=W8A8", "-m", "not maxact", passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["*layers.2.down_in: W8A8.flush_to_zero*", "*W8A8.mean_kl * on 60 tokens of 8 samples exceeds the limit 1e-09*"]
    )


def test_workers_share_one_measurement_with_its_effects(pytester: pytest.Pytester, sound: Path, corpus: Path) -> None:
    checks = OTHERS + 4 * LINEAR + 1
    gate(pytester, sound, corpus, "--maxact-deploy=W8A8", "-n", "2", passed=checks)


@pytest.mark.parametrize("broken", [1e6, -1e30])
def test_a_weight_that_float16_cannot_hold_fails_where_no_token_meets_it(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path, broken: float
) -> None:
    """Input channel 9 of a block is always zero, so the weight behind it changes no activation and no prediction."""
    model = headed(tmp_path / "m")
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.1.post_attention_layernorm.weight"][9] = 0.0
    tensors["model.layers.1.mlp.up_proj.weight"][3, 9] = broken
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    result = gate(pytester, model, corpus, "--maxact-deploy=FP16")
    failed = {line.split(" ")[1] for line in result.outlines if line.startswith("FAILED")}
    assert "maxact::layers.1.mlp_in::FP16.weight_sqnr_db" in failed


# What is said at once


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--maxact-deploy=W8A9"], "*no scheme called 'W8A9'; did you mean W8A8?*"),
        (["--maxact-deploy=,"], "*names no scheme*"),
        (
            ["--maxact-deploy=FP8_BLOCK"],
            "*FP8_BLOCK cannot quantize *q_proj (layers.0.qkv_in): 64 is no multiple of its groups of 128*",
        ),
        (
            ["--maxact-effect=W4A16"],
            "*W4A16 cannot quantize *q_proj (layers.0.qkv_in): 64 is no multiple of its groups of 128*",
        ),
    ],
)
def test_a_scheme_that_cannot_be_is_a_usage_error(
    pytester: pytest.Pytester, sound: Path, corpus: Path, arguments: list[str], message: str
) -> None:
    result = gate(pytester, sound, corpus, *arguments)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])


def test_a_scheme_that_cannot_quantize_a_width_may_still_be_reported(
    pytester: pytest.Pytester, sound: Path, corpus: Path
) -> None:
    result = gate(pytester, sound, corpus, "--maxact-schemes=FP8_BLOCK", passed=OTHERS)
    result.stdout.fnmatch_lines(["FP8_BLOCK *[?N]*"])


@pytest.mark.parametrize("asked", ["--maxact-deploy=W8A8", "--maxact-schemes=W8A8"])
def test_weights_in_low_bits_already_are_refused_before_any_load(
    pytester: pytest.Pytester, sound: Path, corpus: Path, tmp_path: Path, asked: str
) -> None:
    model = tmp_path / "quantized"
    model.mkdir()
    for file in sound.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    in_fp8(model)
    result = gate(pytester, model, corpus, asked)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*its weights are quantized already (fp8)*"])


def test_matrices_outside_linear_layers_forbid_a_verdict_on_fitness(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    """jetmoe's attention is a mixture of experts, whose stacked matrices are read by nobody: it must not be said to
    ship.
    """
    model = tiny.save(tmp_path / "jetmoe", build("jetmoe"))
    refused = gate(pytester, model, corpus, "--maxact-deploy=W8A8")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["*self_attention.experts.input_linear.weight is no weight of a linear layer*"])
    assert gate(pytester, model, corpus, "--maxact-schemes=W8A8").ret == 0


def test_an_encoder_has_no_predictions_to_compare(pytester: pytest.Pytester, corpus: Path, tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "bert",
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=64,
        max_position_embeddings=64,
    )
    model = tiny.save(tmp_path / "bert", AutoModel.from_config(config, dtype=torch.float32))
    common = (f"--maxact-model={model}", f"--maxact-corpus={corpus}", "--maxact-family=generic")
    refused = run_gate(pytester, *common, "--maxact-effect=W8A8")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["*has no next-token distribution*"])
    result = run_gate(pytester, *common, "--maxact-deploy=W8A8")
    assert result.ret == 0
    assert "mean_kl" not in result.stdout.str()
    result.stdout.fnmatch_lines(["Predictions were not compared: this architecture has no next-token distribution."])
