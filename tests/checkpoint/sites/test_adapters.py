"""Fine-tuning with PEFT's adapters: the live model is measured with them, unmerged, and left as it was; what they
cannot be measured in is refused.
"""

import copy
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoHaConfig, LoraConfig, PromptTuningConfig, get_peft_model, inject_adapter_in_model

from pytest_maxact.checkpoint.sites.adapters import without_adapters
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import InputError
from pytest_maxact.trainer.callback import MaxActCallback
from tests.support import tiny
from tests.support.training import causal_lm, hooks_on, record_at, saved_record, trainer_of
from tests.support.zoo import configs

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]


def lora(targets: Any = "all-linear", **options: Any) -> LoraConfig:
    """Strong enough for six steps to change what every module gives."""
    return LoraConfig(**{"r": 4, "lora_alpha": 64, "target_modules": targets, "task_type": "CAUSAL_LM", **options})


def train(folder: Path, corpus: Path, model: Any, **options: Any) -> MaxActCallback:
    trainer = trainer_of(folder, model)
    callback = MaxActCallback(trainer, corpus=corpus, **options)
    trainer.add_callback(callback)
    trainer.train()
    return callback


@pytest.mark.parametrize(
    ("model_type", "config"),
    [
        ("qwen3", lora()),
        ("qwen3", lora(use_dora=True)),
        ("qwen3", lora(["gate_proj", "down_proj"], modules_to_save=["embed_tokens", "norm", "lm_head"])),
        ("qwen3", lora(ATTENTION, trainable_token_indices={"embed_tokens": [5, 6, 7]})),
        ("qwen3", lora([*ATTENTION, "embed_tokens"])),
        ("qwen3_moe", lora(ATTENTION)),
    ],
    ids=["all-linear", "dora", "saved-modules", "tokens", "embedding", "experts"],
)
def test_a_live_model_with_adapters_gives_the_record_of_the_merged_one(
    model_type: str, config: LoraConfig, tmp_path: Path, corpus: Path
) -> None:
    wrapped = get_peft_model(causal_lm(model_type), config)
    callback = train(tmp_path / "run", corpus, wrapped)
    assert callback.errors == {}
    live, first = record_at(tmp_path / "run", 6), record_at(tmp_path / "run", 3)
    merged = copy.deepcopy(wrapped).merge_and_unload()
    saved = saved_record(tiny.save(tmp_path / "merged", merged), corpus)
    assert list(live.sites) == list(saved.sites)
    for name, reading in saved.sites.items():
        assert math.isclose(live[name].max_abs, reading.max_abs, rel_tol=1e-4), name
        assert live[name].site == reading.site
        assert live[name].count == reading.count
    assert live.provenance.weights_sha256 == "in training, step 6, with its adapters"
    assert saved.provenance.left_out == ()
    assert live.provenance.left_out == ("lm_head: not part of the decoder",), "it is not run in training"
    assert any(live[name].max_abs != first[name].max_abs for name in live.sites if name.endswith(".attn_output"))


def test_adapters_that_transformers_put_into_its_own_model_are_measured_too(tmp_path: Path, corpus: Path) -> None:
    config = lora()
    mine, theirs = causal_lm(), causal_lm()
    mine.add_adapter(config)
    torch.manual_seed(1)
    wrapped = get_peft_model(theirs, config)
    wrapped.load_state_dict({f"base_model.model.{name}": value for name, value in mine.state_dict().items()})
    assert train(tmp_path / "mine", corpus, mine).errors == {}
    assert train(tmp_path / "theirs", corpus, wrapped).errors == {}
    assert record_at(tmp_path / "mine", 6).sites == record_at(tmp_path / "theirs", 6).sites


def test_training_goes_on_as_if_nothing_had_been_measured(tmp_path: Path, corpus: Path) -> None:
    def trained(measured: bool) -> tuple[Any, int]:
        torch.manual_seed(0)
        model = get_peft_model(causal_lm(), lora(lora_dropout=0.3, modules_to_save=["embed_tokens"]))
        before = hooks_on(model)
        if measured:
            train(tmp_path / "with", corpus, model, every=1)
        else:
            trainer_of(tmp_path / "without", model).train()
        return model, hooks_on(model) - before

    (one, added), (other, _) = trained(True), trained(False)
    assert added == 0
    assert [name for name, _ in one.named_modules()] == [name for name, _ in other.named_modules()]
    for (name, value), (_, same) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(value, same), name


def test_a_broken_adapter_is_found(tmp_path: Path, corpus: Path) -> None:
    wrapped = get_peft_model(causal_lm(), lora())
    wrapped.base_model.model.model.layers[1].mlp.up_proj.lora_B.default.weight.data.fill_(1e4)
    callback = train(tmp_path, corpus, wrapped, every=1)
    first = next(finding for finding in callback.findings[1] if finding.limit.sense == "max")
    assert first.site in ("layers.1.mlp_output", "layers.1.hidden")
    assert (
        record_at(tmp_path, 1)["layers.1.mlp_output"].max_abs
        > 100 * record_at(tmp_path, 1)["layers.0.mlp_output"].max_abs
    )


def test_wrappers_are_back_in_their_places_whatever_happens() -> None:
    model = get_peft_model(causal_lm(), lora(modules_to_save=["embed_tokens"])).get_base_model()
    before = list(model.named_modules())
    with suppress(ZeroDivisionError), without_adapters(model) as wrappers:
        assert not any("lora" in name or "original_module" in name for name, _ in model.named_modules())
        assert len(wrappers) == 7 * tiny.LAYERS + 1
        raise ZeroDivisionError("something went wrong")
    assert list(model.named_modules()) == before
    assert [(tap.site, tap.reads) for tap in resolve(model.base_model, model.config, adapters=True).taps] == [
        (tap.site, tap.reads) for tap in resolve(causal_lm().base_model, model.config).taps
    ]


# What is refused


@pytest.mark.parametrize(
    ("model_type", "config", "message"),
    [
        (
            "qwen3",
            PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
            "PROMPT_TUNING adapters cannot be measured",
        ),
        (
            "qwen3",
            IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[]),
            "IA3 adapters cannot be measured",
        ),
        (
            "qwen3",
            lora(alora_invocation_tokens=[5, 6]),
            "LORA adapters with alora_invocation_tokens cannot be measured",
        ),
        (
            "qwen3_moe",
            lora(ATTENTION, target_parameters=["mlp.experts.gate_up_proj"]),
            "LORA adapters with target_parameters cannot",
        ),
        ("qwen3", lora(layer_replication=[[0, 2], [1, 3]]), "LORA adapters with layer_replication cannot be measured"),
    ],
    ids=["prompt", "ia3", "alora", "parameters", "replication"],
)
def test_adapters_that_act_beyond_modules_are_refused_before_the_first_step(
    model_type: str, config: Any, message: str, tmp_path: Path, corpus: Path
) -> None:
    refused(get_peft_model(causal_lm(model_type), config), message, tmp_path, corpus)


def test_adapters_on_a_quantized_model_are_refused(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = get_peft_model(causal_lm(), lora())
    monkeypatch.setattr(type(wrapped.get_base_model()), "is_quantized", True, raising=False)
    monkeypatch.setattr("transformers.trainer.validate_quantization_for_training", lambda model: None)
    refused(wrapped, "adapters on a quantized model cannot be measured", tmp_path, corpus)


@pytest.mark.parametrize(
    ("model_type", "config", "where"),
    [
        ("qwen3_moe", lora(ATTENTION, modules_to_save=["gate"]), r"layers\.0\.mlp\.gate"),
        ("jetmoe", lora(), r"layers\.0\.\S*router\S*"),
        ("qwen3", lora(["q_proj"], modules_to_save=["mlp"]), r"layers\.0\.mlp\S*"),
        ("qwen3", lora(["q_proj"], modules_to_save=["layers.1"]), r"layers\.1\S*"),
    ],
    ids=["router", "inside-router", "block", "layer"],
)
def test_an_adapter_around_what_is_read_from_within_is_refused(
    model_type: str, config: LoraConfig, where: str, tmp_path: Path, corpus: Path
) -> None:
    model = configs.build(model_type) if model_type == "jetmoe" else causal_lm(model_type)
    refused(
        get_peft_model(model, config),
        f"an adapter lies around {where}, which is read from within",
        tmp_path,
        corpus,
        family="generic",
    )


def test_adapters_on_a_tied_output_embedding_are_refused(tmp_path: Path, corpus: Path) -> None:
    tied = causal_lm(tie_word_embeddings=True)
    refused(
        get_peft_model(tied, lora(["q_proj", "lm_head"])),
        "adapters on an output embedding that is tied",
        tmp_path,
        corpus,
    )


def test_adapters_that_are_switched_off_are_refused(tmp_path: Path, corpus: Path) -> None:
    wrapped = get_peft_model(causal_lm(), lora())
    wrapped.base_model.disable_adapter_layers()
    refused(wrapped, "adapters that are switched off cannot be measured", tmp_path, corpus)


def test_adapters_put_into_a_part_of_the_model_are_looked_at_too(tmp_path: Path, corpus: Path) -> None:
    model = causal_lm()
    inject_adapter_in_model(LoHaConfig(target_modules=["q_proj"]), model.model)
    refused(model, "LOHA adapters cannot be measured", tmp_path, corpus)


def test_a_module_of_peft_that_is_not_known_is_refused() -> None:
    class Stranger(torch.nn.Module):
        """Around an attention block, as one kind of PEFT's has it."""

        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

    Stranger.__module__ = "peft.tuners.strange"
    model = causal_lm().base_model
    model.layers[1].self_attn = Stranger(model.layers[1].self_attn)
    with pytest.raises(
        InputError, match=r"^layers\.1\.self_attn: Stranger of PEFT is not known here\n  merge the adapter"
    ):
        resolve(model, model.config, adapters=True)


def refused(model: Any, message: str, folder: Path, corpus: Path, **options: Any) -> None:
    trainer = trainer_of(folder / "out", model)
    trainer.add_callback(MaxActCallback(trainer, corpus=corpus, **options))
    with pytest.raises(InputError, match=f"^MaxActCallback: {message}(.|\n)*merge"):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.parametrize("beside", [False, True])
def test_a_folder_of_adapters_is_no_checkpoint_and_the_message_says_what_to_do(
    beside: bool, tmp_path: Path, checkpoint: Path
) -> None:
    from pytest_maxact.gate.sources import find
    from pytest_maxact.measure.prepare import prepare
    from pytest_maxact.settings.settings import Settings

    folder = tmp_path / "checkpoint-3"
    get_peft_model(causal_lm(), lora()).save_pretrained(folder)
    if beside:
        for file in checkpoint.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    message = r"it holds adapters \(adapter_config\.json\)\n  merge them into their base model"
    with pytest.raises(InputError, match=rf"checkpoint-3 is not a model directory: {message}"):
        prepare(Settings(model=str(folder)))
    if not beside:
        with pytest.raises(InputError, match=f"and is no checkpoint: {message}"):
            find(str(tmp_path / "checkpoint-*"))
