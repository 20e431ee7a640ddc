"""The gate for low bits as its users run it: a flag makes checks, a Record can be judged again, and what cannot be done
is said at once.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from pytest_maxact.cli.main import main
from pytest_maxact.record.effect import KEPT
from pytest_maxact.record.file import load, save
from pytest_maxact.record.metrics.value import beyond_fp16
from tests.support import tiny
from tests.support.gate_runs import run_gate
from tests.support.headed import headed
from tests.support.measuring import record_of
from tests.support.metrics import value_of
from tests.support.zoo.configs import build

LINEAR = 4 * tiny.LAYERS
PAPER = 2 * (4 * tiny.LAYERS + 2) + 1
"""Checks of the paper's sites: a maximum and a non-finite count each, and the carrier's INT-8 error."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return headed(tmp_path_factory.mktemp("sound") / "qwen3")


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return headed(tmp_path_factory.mktemp("loud") / "qwen3", loud=4096.0)


def gate(pytester: pytest.Pytester, model: Path, corpus: Path, *arguments: str, **outcomes: int) -> pytest.RunResult:
    common = (f"--maxact-model={model}", f"--maxact-corpus={corpus}", "--maxact-family=qwen3")
    return run_gate(pytester, *common, *arguments, **outcomes)


# Checks


def test_fitness_is_a_check_per_linear_input_and_quantity_beside_the_family(
    pytester: pytest.Pytester, sound: Path, corpus: Path
) -> None:
    result = gate(pytester, sound, corpus, "--maxact-deploy=W8A8", "--co", "-q")
    listed = [line for line in result.outlines if line.startswith("maxact::")]
    fitness = [line for line in listed if "::W8A8." in line]
    assert len(fitness) == 3 * LINEAR + 1
    assert {
        "maxact::layers.2.down_in::W8A8.sqnr_db",
        "maxact::layers.0.o_in::W8A8.weight_sqnr_db",
        "maxact::model::W8A8.mean_kl",
    } <= set(fitness)
    assert len(listed) - len(fitness) == PAPER + LINEAR, "linear inputs must be finite too"


def test_a_sound_model_passes_and_the_report_says_what_it_ships_in(
    pytester: pytest.Pytester, sound: Path, corpus: Path
) -> None:
    result = gate(pytester, sound, corpus, "--maxact-deploy=W8A8,FP8_DYNAMIC,FP16")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["scheme * fits inputs dB *", "W8A8 * yes *", "ships in W8A8, FP8_DYNAMIC, FP16"])


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
    result = gate(pytester, loud, corpus, "--maxact-schemes=W8A8", passed=PAPER + LINEAR)
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
    checks = PAPER + LINEAR + 3 * LINEAR + 1
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
    result = gate(pytester, sound, corpus, "--maxact-schemes=FP8_BLOCK", passed=PAPER + LINEAR)
    result.stdout.fnmatch_lines(["FP8_BLOCK *[?N]*"])


@pytest.mark.parametrize("asked", ["--maxact-deploy=W8A8", "--maxact-sites=deploy"])
def test_weights_in_low_bits_already_are_refused_before_any_load(
    pytester: pytest.Pytester, sound: Path, corpus: Path, tmp_path: Path, asked: str
) -> None:
    model = tmp_path / "quantized"
    model.mkdir()
    for file in sound.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    config = json.loads((model / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4"}
    (model / "config.json").write_text(json.dumps(config))
    result = gate(pytester, model, corpus, asked)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*its weights are quantized already (mxfp4)*"])


def test_matrices_outside_linear_layers_forbid_a_verdict_on_fitness(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    """jetmoe's attention is a mixture of experts, whose stacked matrices are read by nobody: it must not be said to
    ship.
    """
    model = tiny.save(tmp_path / "jetmoe", build("jetmoe"))
    common = (f"--maxact-model={model}", f"--maxact-corpus={corpus}", "--maxact-family=generic")
    refused = run_gate(pytester, *common, "--maxact-deploy=W8A8")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["*self_attention.experts.input_linear.weight is no weight of a linear layer*"])
    assert run_gate(pytester, *common, "--maxact-schemes=W8A8").ret == 0


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


# FP16


def test_what_a_bf16_pass_says_of_fp16_is_what_fp16_does(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    """70 144 at one token of layer 1: predicted from the bfloat16 model, and seen where the same weights run in
    float16.
    """
    texts = tiny.write_corpus(tmp_path / "peak.jsonl", tiny.sentences([5, 9, 7, 12, 6, 8], peak=(3, 4)))
    model = tiny.save(tmp_path / "llama", tiny.planted_model("llama", layer=1, value=70144.0))
    predicted = record_of(model, texts, dtype="bf16")
    assert [reading.site.name for reading in beyond_fp16(predicted)] == [
        "layers.1.hidden",
        "layers.1.mlp_output",
        "layers.2.hidden",
    ]
    result = run_gate(
        pytester,
        f"--maxact-model={model}",
        f"--maxact-corpus={texts}",
        "--maxact-family=generic",
        "--maxact-dtype=bf16",
        "--maxact-schemes=FP16",
    )
    text = " ".join(result.stdout.str().split())
    assert (
        "does not fit: 3 sites above 65 504 or not finite: layers.1.mlp_output" in text
        or "does not fit: 3 sites" in text
    )
    assert "layers.1.mlp_output" in text
    real = record_of(model, texts, dtype="fp16")
    broken = [name for name, reading in real.sites.items() if reading.nonfinite]
    assert broken[0] in ("layers.1.hidden", "layers.1.mlp_output")
    assert set(broken) >= {"layers.1.hidden", "layers.1.mlp_output"}
    assert not any(real[name].nonfinite for name in ("layers.0.hidden", "layers.1.attn_output"))
    for name in ("layers.1.mlp_output", "layers.1.hidden"):
        assert value_of(predicted[name], "FP16.headroom") < 1
        assert value_of(predicted[name], "FP16.clip_rate") == pytest.approx(1 / predicted[name].count)
        assert real[name].nonfinite >= 1


# Commands


def test_weights_need_no_forward_pass(
    loud: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.Module.__call__", lambda *args, **kwargs: pytest.fail("a module was run"))
    assert main(["weights", str(loud), "--schemes", "W8A8,MXFP4A16"]) == 0
    text = capsys.readouterr().out
    assert "W8A8: worst is" in text
    assert len([line for line in text.splitlines() if line[:1].isdigit()]) == tiny.LAYERS
    assert main(["weights", str(loud), "--schemes", "W8A8", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data) == 7 * tiny.LAYERS
    assert data["layers.0.self_attn.q_proj.weight"]["W8A8"]["sqnr_db"] > 35


def test_the_site_map_shows_linear_inputs_on_request(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sites", str(sound), "--sites", "deploy", "--json"]) == 0
    sites = {entry["site"]: entry for entry in json.loads(capsys.readouterr().out)["sites"]}
    assert sites["layers.1.qkv_in"]["modules"] == [f"layers.1.self_attn.{name}_proj" for name in "qkv"]
    assert sites["layers.1.down_in"]["modules"] == ["layers.1.mlp.down_proj"]


def test_export_writes_what_a_quantization_step_asks_for(
    sound: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = record_of(sound, corpus, sites="deploy")
    save(record, tmp_path / "r")
    assert main(["export", str(tmp_path / "r"), "--smoothquant", str(tmp_path / "smooth.safetensors")]) == 0
    assert "21 tensors" in capsys.readouterr().out
    with safe_open(tmp_path / "smooth.safetensors", framework="pt") as file:
        amax = file.get_tensor("layers.2.mlp.down_proj")
        assert torch.equal(file.get_tensor("layers.0.self_attn.q_proj"), file.get_tensor("layers.0.self_attn.v_proj"))
    assert amax.shape == (128,)
    assert main(["export", str(tmp_path / "r"), "--scales", "fp8", str(tmp_path / "fp8.safetensors")]) == 0
    with safe_open(tmp_path / "fp8.safetensors", framework="pt") as file:
        scale = file.get_tensor("layers.2.mlp.down_proj.input_scale")
    assert scale.item() == pytest.approx(amax.max().item() / 448, rel=0.01)


def test_show_gives_schemes_weights_and_effects_to_a_program(
    sound: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(record_of(sound, corpus, schemes=("W8A8",), effect=("W8A8",)), tmp_path / "r")
    assert main(["show", str(tmp_path / "r"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["effects"]["W8A8"]["tokens"] > 0
    site = data["sites"]["layers.1.down_in"]
    assert site["schemes"]["W8A8"]["sqnr_db"] > 20
    assert site["weights"]["layers.1.mlp.down_proj.weight"]["W8A8"]["sqnr_db"] > 20


# Planted models whose error is known


WIDE = 128


def patterned(rows: torch.Tensor, folder: Path) -> Path:
    """A Qwen3 whose first linear layers are given these rows [64, 128], one per word: their root mean square is 1, and
    every norm leaves them alone.
    """
    config = AutoConfig.for_model(
        "qwen3", **{**tiny.FAMILIES["qwen3"], "hidden_size": WIDE, "intermediate_size": WIDE, "num_hidden_layers": 1}
    )
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        model.embed_tokens.weight.copy_(rows)
    return tiny.save(folder, model)


def noise_with(outliers: tuple[int, ...], size: float) -> torch.Tensor:
    rows = torch.rand((64, WIDE), generator=torch.Generator().manual_seed(3)) * 2 - 1
    rows[:, list(outliers)] = size
    return rows / rows.pow(2).mean(1, keepdim=True).sqrt()


def sqnr_of(rows: torch.Tensor, scheme: str, corpus: Path, folder: Path) -> dict[str, float]:
    record = record_of(patterned(rows, folder), corpus, schemes=(scheme,))
    return {
        name: value_of(record["layers.0.qkv_in"], f"{scheme}.{name}")
        for name in ("sqnr_db", "flush_to_zero", "token_low_db")
    }


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_corpus(
        tmp_path_factory.mktemp("words") / "corpus.jsonl", tiny.sentences([40, 35, 50, 45, 38, 42])
    )


@pytest.mark.parametrize("outliers", [(5,), (5, 90)])
@pytest.mark.parametrize("scheme", ["W8A8", "W8A8_STATIC", "W4A8"])
def test_noise_below_outliers_has_the_error_of_their_step(
    scheme: str, outliers: tuple[int, ...], words: Path, tmp_path: Path
) -> None:
    """Uniform noise of amplitude 1 under outliers of 20: the step is 20 / 127.5, its energy a twelfth of its square."""
    size, noise = 20.0, WIDE - len(outliers)
    step = size / (127.0 if scheme == "W8A8_STATIC" else 127.5)
    lost_at_top = 0.0 if scheme == "W8A8_STATIC" else (0.5 * step) ** 2
    signal, error = len(outliers) * size**2 + noise / 3, noise * step**2 / 12 + len(outliers) * lost_at_top
    found = sqnr_of(noise_with(outliers, size), scheme, words, tmp_path / "m")
    tolerance = 0.8 if scheme == "W8A8_STATIC" else 0.4  # one scale for rows that were normalised each by its own
    assert found["sqnr_db"] == pytest.approx(10 * torch.log10(torch.tensor(signal / error)).item(), abs=tolerance)
    assert found["flush_to_zero"] == pytest.approx(step / 2 * noise / WIDE, abs=0.02)


@pytest.mark.parametrize(
    ("scheme", "size", "taken"),
    [
        ("W8A8", 2.0**20, WIDE),
        ("FP8_BLOCK", 2.0**20, WIDE),
        ("MXFP4", 2.0**20, 2 * 32),
        ("NVFP4", 256.0, 2 * 16),
        ("NVFP4", 2.0**20, WIDE),  # the scale of a group without an outlier lies below the smallest FP8 number
    ],
)
def test_outliers_take_what_shares_their_scale_with_them(
    scheme: str, size: float, taken: int, words: Path, tmp_path: Path
) -> None:
    """Two outliers out of reach of the rest, in groups of their own: what shares a scale with one of them becomes zero,
    the other groups do not.
    """
    found = sqnr_of(noise_with((5, 90), size), scheme, words, tmp_path / "m")
    lost = (taken - 2) / WIDE
    spared = 0.1 * (1 - taken / WIDE)  # of noise alone, what lies below a quarter of the smallest step
    assert lost - 0.01 <= found["flush_to_zero"] <= lost + spared
    assert found["sqnr_db"] > 15, "the outliers carry the energy"


@pytest.mark.parametrize("scheme", ["W8A8", "FP8_DYNAMIC", "FP8", "MXFP8", "MXFP4", "NVFP4", "W8A8_STATIC"])
def test_a_constant_tensor_loses_what_its_level_is_off_the_scale(scheme: str, words: Path, tmp_path: Path) -> None:
    rows = torch.ones(64, WIDE)
    found = sqnr_of(rows, scheme, words, tmp_path / "m")
    if scheme in ("W8A8",):
        assert found["sqnr_db"] == pytest.approx(20 * torch.log10(torch.tensor(127.5 / 0.5)).item(), abs=0.1), (
            "127 of 127.5 steps"
        )
    else:
        assert found["sqnr_db"] > 60, "the largest magnitude is a level, and so is a power of two"
    assert found["flush_to_zero"] == 0
