"""What a run is refused for before its first step."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.tensor
from transformers import PreTrainedConfig, PreTrainedModel, Trainer

from pytest_maxact.errors import InputError
from pytest_maxact.trainer.callback import MaxActCallback
from tests.support.training import STEPS, causal_lm, limits_file, record_at, refused, train, trainer_of


def test_a_run_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "the Trainer has no processing_class", trainer_of(tmp_path, tokenizer=None))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, corpus: Path) -> None:
    refused(tmp_path, "the model embeds 20 tokens", trainer_of(tmp_path, causal_lm(vocab_size=20)), corpus=corpus)


class Strange(PreTrainedModel):  # type: ignore[misc]
    """A model of transformers without any of the parts that sites are read from."""

    config_class = PreTrainedConfig

    def __init__(self) -> None:
        super().__init__(PreTrainedConfig())
        self.weight = torch.nn.Parameter(torch.ones(2))


def test_an_architecture_whose_sites_are_not_found_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "names no token embedding", trainer_of(tmp_path, Strange()))


def test_what_is_no_model_of_transformers_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "Linear is no model of transformers", trainer_of(tmp_path, torch.nn.Linear(2, 2)))


def test_a_family_without_limits_must_be_judged_by_generic_by_name(tmp_path: Path, corpus: Path) -> None:
    limits = limits_file(
        tmp_path,
        "version: 1\ngeneric: {min_margin: null}\nfamilies: {other: {model_types: [other], limits: {hidden: 3}}}",
    )
    refused(tmp_path, "no limits for model_type 'qwen3'(.|\n)*use `family` generic", corpus=corpus, limits=limits)
    callback = train(tmp_path, corpus, limits=limits, family="generic")
    assert callback.findings == {3: (), 6: ()}
    assert record_at(tmp_path, 3).provenance.family == "generic"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "version: 1\nfamilies: {q: {model_types: [qwen3], limits: {hiden: 3}}}",
            r"limits\.yaml:2: .*no site kind called 'hiden'",
        ),
        (
            "version: 1\nextends: builtin\nregression: {sites: {nowhere: {max_growth: 2}}}",
            "pattern 'nowhere' matches no site",
        ),
        (
            "version: 1\nprotocol: deployed\nfamilies: {q: {model_types: [qwen3], limits: {hidden: 3}}}",
            "hold for protocol 'deployed'",
        ),
    ],
)
def test_a_limits_file_that_is_wrong_is_refused(text: str, message: str, tmp_path: Path, corpus: Path) -> None:
    refused(tmp_path, message, corpus=corpus, limits=limits_file(tmp_path, text))


def test_a_run_in_which_nothing_would_be_measured_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "this run saves nothing", trainer_of(tmp_path, save_strategy="no"))
    refused(tmp_path, "every=7 is beyond the last step, 6", every=7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is 0"), ({"samples": 1}, "samples is 1"), ({"budget_seconds": 0}, "budget_seconds is 0"),
        ({"budget_seconds": math.nan}, "budget_seconds is nan"), ({"protocol": "served"}, "protocol is 'served'"),
        ({"corpus": "nowhere.jsonl"}, "no corpus at nowhere.jsonl"), ({"family": "qwen"}, "no such family"),
    ],
)  # fmt: skip
def test_an_argument_that_is_wrong_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    refused(tmp_path, message, **options)


def test_a_callback_without_its_trainer_is_refused() -> None:
    with pytest.raises(InputError, match="was given Qwen3ForCausalLM where a Trainer"):
        MaxActCallback(causal_lm())


def begin(trainer: Trainer) -> None:
    callback = MaxActCallback(trainer)
    trainer.state.max_steps = STEPS
    callback.on_train_begin(trainer.args, trainer.state, trainer.control)


def distributed(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    """A parameter as tensor parallelism and FSDP2 hold it, in a world of one process."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
        return torch.nn.Parameter(torch.distributed.tensor.distribute_tensor(parameter.data, mesh))
    finally:
        torch.distributed.destroy_process_group()


def test_sharded_parameters_are_refused_and_the_series_is_named(tmp_path: Path) -> None:
    series = r"OUTPUT_DIR/checkpoint-\*"
    trainer = trainer_of(tmp_path)
    trainer.is_fsdp_enabled = True
    with pytest.raises(InputError, match=rf"are sharded \(FSDP\)(.|\n)*pytest --maxact-model='{series}'"):
        begin(trainer)
    trainer = trainer_of(tmp_path)
    next(trainer.model.parameters()).ds_id = 0
    with pytest.raises(InputError, match=rf"are sharded \(DeepSpeed ZeRO-3\)(.|\n)*{series}"):
        begin(trainer)
    trainer = trainer_of(tmp_path)
    trainer.model.lm_head.weight = distributed(trainer.model.lm_head.weight)
    with pytest.raises(InputError, match=rf"are sharded \(DTensor\)(.|\n)*{series}"):
        begin(trainer)
    trainer = trainer_of(tmp_path)
    trainer.model.lm_head.to("meta")
    with pytest.raises(InputError, match=rf"lie on several devices \(cpu, meta\)(.|\n)*{series}"):
        begin(trainer)


def test_attention_that_cannot_take_the_dtype_of_the_weights_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    trainer.model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(InputError, match=r"the weights are float32.*flash_attention_2, which takes 16 bits only"):
        begin(trainer)


def test_several_callbacks_of_a_trainer_are_refused_for_their_records_are_one_file(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path / "out")
    trainer.add_callback(MaxActCallback(trainer, every=2))
    refused(tmp_path, "this Trainer has several of it", trainer=trainer, every=3)


def test_a_callback_of_another_trainer_is_refused_for_it_would_measure_the_wrong_model(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path / "out")
    trainer.add_callback(MaxActCallback(trainer_of(tmp_path / "other"), every=2))
    with pytest.raises(InputError, match="it was made with another Trainer than the one that it was added to"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_a_hyperparameter_search_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    trainer.state.is_hyper_param_search = True
    with pytest.raises(InputError, match="a hyperparameter search trains many models"):
        begin(trainer)
