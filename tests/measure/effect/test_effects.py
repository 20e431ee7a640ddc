"""What a scheme does to predictions equals the plain way: full logits of one sample at a time, inputs and weights
quantized by compressed-tensors.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compressed_tensors.quantization import fake_quantize
from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme
from compressed_tensors.quantization.utils.helpers import (
    calculate_qparams,
    compute_dynamic_scales_and_zp,
    generate_gparam,
)
from safetensors.torch import load_file
from torch import nn
from torch.distributions import Categorical, kl_divergence
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from pytest_maxact import corpus
from pytest_maxact.checkpoint.locate import Checkpoint, locate
from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.measure.effect.effects import (
    EFFECT_TOKENS,
    HEAD_ROWS,
    evaluation_samples,
    measure_effects,
    require_head,
)
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.measuring import encoded
from tests.support.paths import TRAINED

FIXTURE = TRAINED
WIDE: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "moe_intermediate_size": 128,
    "num_hidden_layers": 2,
    "head_dim": 32,
    "vocab_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "pad_token_id": 0,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": WIDE,
    "qwen3": WIDE,
    "gemma2": {**WIDE, "final_logit_softcapping": 2.0, "attn_logit_softcapping": 5.0},
    "granite": {**WIDE, "logits_scaling": 4.0, "residual_multiplier": 0.5, "embedding_multiplier": 3.0},
    "gpt2": {
        "n_embd": 128,
        "n_layer": 2,
        "n_head": 4,
        "vocab_size": 64,
        "n_positions": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "opt": {**WIDE, "ffn_dim": 256, "word_embed_proj_dim": 128},
    "qwen3_moe": WIDE,
    "mixtral": {**WIDE, "intermediate_size": 128},
}
LENGTHS = [9, 14, 5, 17, 11, 7, 13, 6, 12, 10, 15, 8]
COMPARED = ("W8A8", "FP8_DYNAMIC", "FP8", "NVFP4", "W4A16")


# -- the plain way
# ---------------------------------------------------------------------------------------------------------------------


def restored(x: torch.Tensor, scheme: str, operand: str, amax: float | None = None) -> torch.Tensor:
    """What compressed-tensors restores of x [..., width]; a weight is [out, in]."""
    preset = preset_name_to_scheme(scheme, ["Linear"])
    args = preset.weights if operand == "weights" else preset.input_activations
    if args is None:
        return x
    top = x.abs().amax() if amax is None else torch.tensor(amax, dtype=x.dtype)
    above = generate_gparam(-top, top) if str(args.strategy) == "tensor_group" else None
    if args.dynamic:
        shaped = x if x.ndim == 3 else x.reshape(1, -1, x.shape[-1])
        return fake_quantize(shaped, *compute_dynamic_scales_and_zp(shaped, args, None, above), args, above).view(
            x.shape
        )
    if str(args.strategy) == "tensor":
        low, high = -top, top
    else:
        rows = x if str(args.strategy) == "channel" else x.unflatten(-1, (-1, args.group_size))
        low, high = rows.amin(-1), rows.amax(-1)
        if str(args.strategy) == "channel":
            low, high = low[:, None], high[:, None]
    return fake_quantize(x, *calculate_qparams(low, high, args, above), args, above)


@dataclass
class Plain:
    """A model whose linear layers are quantized by plain hooks; without a scheme it notes the maxima of what they are
    given, by their paths.
    """

    model: Any
    scheme: str = ""
    amax: dict[str, float] = field(default_factory=dict)
    kept: Collection[str] = ()

    def __post_init__(self) -> None:
        for path, module in self.model.named_modules():
            if isinstance(module, (nn.Linear, Conv1D)) and path != "lm_head" and not path.endswith(tuple(self.kept)):
                module.register_forward_pre_hook(lambda m, args, path=path: (self.given(path, args[0]), *args[1:]))
                weight = module.weight.data
                module.weight.data = (
                    self.weight(weight.T.contiguous()).T.contiguous()
                    if isinstance(module, Conv1D)
                    else self.weight(weight)
                )
            elif hasattr(module, "gate_up_proj") and module.gate_up_proj.ndim == 3:
                for name in ("gate_up_proj", "down_proj"):
                    stacked = getattr(module, name)
                    stacked.data = torch.stack([self.weight(matrix) for matrix in stacked.data])
                module.forward = lambda states, chosen, shares, m=module, path=path: self.experts(
                    m, path, states, chosen, shares
                )

    def weight(self, weight: torch.Tensor) -> torch.Tensor:
        return restored(weight, self.scheme, "weights") if self.scheme else weight

    def given(self, path: str, x: torch.Tensor) -> torch.Tensor:
        if self.scheme:
            return restored(x, self.scheme, "activations", self.amax[path])
        self.amax[path] = max(self.amax.get(path, 0.0), x.abs().max().item())
        return x

    def experts(
        self, module: Any, path: str, states: torch.Tensor, chosen: torch.Tensor, shares: torch.Tensor
    ) -> torch.Tensor:
        """Token by token, expert by expert."""
        given = self.given(f"{path}.in", states)
        out = torch.zeros_like(states)
        for token, (experts, weights) in enumerate(zip(chosen.tolist(), shares, strict=True)):
            for expert, share in zip(experts, weights, strict=True):
                gate, up = (module.gate_up_proj[expert] @ given[token]).chunk(2)
                inner = self.given(f"{path}.down", (module.act_fn(gate) * up)[None])[0]
                out[token] += share * (module.down_proj[expert] @ inner)
        return out

    @torch.no_grad()
    def logits(self, sequences: Sequence[Encoded]) -> list[torch.Tensor]:
        return [self.model(torch.tensor([s.ids]), use_cache=False).logits[0].double() for s in sequences]


def plain_figures(own: list[torch.Tensor], other: list[torch.Tensor], sequences: Sequence[Encoded]) -> dict[str, float]:
    divergences = torch.cat(
        [kl_divergence(Categorical(logits=p), Categorical(logits=q)) for p, q in zip(own, other, strict=True)]
    )
    same = torch.cat([p.argmax(-1) == q.argmax(-1) for p, q in zip(own, other, strict=True)])
    own_loss, loss = (
        torch.cat(
            [
                nn.functional.cross_entropy(x[:-1], torch.tensor(s.ids[1:]), reduction="none")
                for x, s in zip(side, sequences, strict=True)
            ]
        )
        for side in (own, other)
    )
    return {
        "mean_kl": divergences.mean().item(),
        "kl_q99": float(np.quantile(divergences.numpy(), 0.99, method="inverted_cdf")),
        "top1_agreement": same.double().mean().item(),
        "perplexity": math.exp(own_loss.mean().item()),
        "perplexity_ratio": math.exp(loss.mean().item()) / math.exp(own_loss.mean().item()),
    }


def split(sequences: Sequence[Encoded], name: str) -> list[Encoded]:
    splits = corpus.assign_splits([s.sample for s in sequences])
    return [s for s in sequences if splits[s.sample.id] == name]


# -- models and measurements
# -----------------------------------------------------------------------------------------------------------


def headed(model_type: str, dtype: torch.dtype = torch.float32, **overrides: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **{**ARCHITECTURES.get(model_type, WIDE), **overrides})
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0.0, 0.12)
    return model


@dataclass(frozen=True)
class Measured:
    """A checkpoint on disk and its Record's readings, every sample measured alone."""

    checkpoint: Checkpoint
    settings: Settings
    readings: Mapping[str, SiteReading]
    sequences: Sequence[Encoded]

    def effects(self, *schemes: str, kept: Mapping[str, Collection[str]] = {}, **options: Any) -> dict[str, Effect]:
        return measure_effects(
            self.checkpoint,
            self.settings,
            [SCHEMES[name] for name in schemes],
            self.readings,
            self.sequences,
            kept=kept,
            **options,
        )

    @property
    def model(self) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.checkpoint.folder, dtype="auto").eval()

    @property
    def linear_inputs(self) -> list[str]:
        return [name for name, reading in self.readings.items() if reading.site.is_linear_input]


def measured(folder: Path, model: Any, lengths: Sequence[int] = LENGTHS, **options: Any) -> Measured:
    checkpoint = tiny.save(folder / "model", model)
    texts = tiny.write_corpus(folder / "corpus.jsonl", tiny.sentences(lengths))
    return prepared(checkpoint, corpus=str(texts), **options)


def prepared(checkpoint: Path, **options: Any) -> Measured:
    settings = Settings(model=str(checkpoint), **{"batch_tokens": 1, "sites": "deploy", **options})
    ready = prepare(settings)
    return Measured(ready.checkpoint, settings, measure(ready, settings, None).sites, ready.sequences)


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measured(tmp_path_factory.mktemp("qwen3"), headed("qwen3"))


@contextmanager
def watched() -> Iterator[tuple[set[PreTrainedModel], list[int]]]:
    """The models that run meanwhile, and how many rows their heads are given, call by call."""
    models: set[PreTrainedModel] = set()
    heads: set[nn.Module] = set()
    rows: list[int] = []

    def note(module: nn.Module, args: Any) -> None:
        if isinstance(module, PreTrainedModel) and getattr(module, "lm_head", None) is not None:
            models.add(module)
            heads.add(module.lm_head)
        if module in heads:
            rows.append(args[0].numel() // args[0].shape[-1])

    handle = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield models, rows
    finally:
        handle.remove()


def figures(effect: Effect) -> dict[str, float]:
    return {
        name: getattr(effect, name)
        for name in ("mean_kl", "kl_q99", "top1_agreement", "perplexity", "perplexity_ratio")
    }


# -- equal to the plain way
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_figure_is_that_of_full_logits_and_plain_hooks(model_type: str, tmp_path: Path) -> None:
    checkpoint = measured(tmp_path, headed(model_type))
    calibration, evaluation = split(checkpoint.sequences, "calibration"), split(checkpoint.sequences, "evaluation")
    observer = Plain(checkpoint.model)
    observer.logits(calibration)
    own = Plain(checkpoint.model).logits(evaluation)
    effects = checkpoint.effects(*COMPARED)
    # products of one row differ from those of many in their last bits
    tolerance = 1e-2 if model_type in ("qwen3_moe", "mixtral") else 1e-5
    assert list(effects) == list(COMPARED)
    for name, effect in effects.items():
        other = Plain(checkpoint.model, scheme=name, amax=observer.amax).logits(evaluation)
        expected = plain_figures(own, other, evaluation)
        assert expected["mean_kl"] > 1e-6
        assert figures(effect) == pytest.approx(expected, rel=tolerance), name
        assert (effect.scheme, effect.samples, effect.tokens) == (name, len(evaluation), sum(map(len, evaluation)))


@pytest.mark.parametrize("implementation", ["eager", "batched_mm", "grouped_mm"])
def test_the_way_in_which_experts_are_run_does_not_matter(implementation: str, tmp_path: Path) -> None:
    """Rows of one expert after another, all rows in turn, each as a column; the reference is token by token."""
    checkpoint = measured(tmp_path, headed("qwen3_moe"))
    calibration, evaluation = split(checkpoint.sequences, "calibration"), split(checkpoint.sequences, "evaluation")
    observer = Plain(checkpoint.model)
    observer.logits(calibration)
    own = Plain(checkpoint.model).logits(evaluation)

    def choose(module: nn.Module, args: Any) -> None:
        if isinstance(module, PreTrainedModel):
            module.config._experts_implementation = implementation

    handle = nn.modules.module.register_module_forward_pre_hook(choose)
    try:
        effects = checkpoint.effects("FP8", "NVFP4")
    finally:
        handle.remove()
    for name, effect in effects.items():
        other = Plain(checkpoint.model, scheme=name, amax=observer.amax).logits(evaluation)
        assert figures(effect) == pytest.approx(plain_figures(own, other, evaluation), rel=1e-2), name


def test_a_trained_checkpoint_in_bfloat16_gives_the_plain_figures() -> None:
    checkpoint = prepared(FIXTURE, max_samples=6, max_seq_len=48)
    calibration, evaluation = split(checkpoint.sequences, "calibration"), split(checkpoint.sequences, "evaluation")
    observer = Plain(checkpoint.model)
    observer.logits(calibration)
    own = Plain(checkpoint.model).logits(evaluation)
    for name, effect in checkpoint.effects("W8A8", "FP8", "NVFP4").items():
        other = Plain(checkpoint.model, scheme=name, amax=observer.amax).logits(evaluation)
        assert figures(effect) == pytest.approx(plain_figures(own, other, evaluation), rel=5e-3), name
    assert effect.mean_kl > 0.01


@pytest.mark.parametrize("model_type", ["gpt_oss", "llama4_text"])
def test_stacked_experts_that_are_stored_transposed_are_quantized_along_their_inputs(
    model_type: str, tmp_path: Path
) -> None:
    options = (
        {"intermediate_size": 96, "intermediate_size_mlp": 64}
        if model_type == "llama4_text"
        else {"intermediate_size": 64}
    )
    checkpoint = measured(tmp_path, headed(model_type, **options))
    evaluation = split(checkpoint.sequences, "evaluation")
    own, quantized = checkpoint.model, checkpoint.model
    for path, parameter in quantized.named_parameters():
        if "experts." in path and path.endswith("_proj"):
            parameter.data = torch.stack([restored(m.T.contiguous(), "MXFP8A16", "weights").T for m in parameter.data])
        elif "proj.weight" in path:
            parameter.data = restored(parameter.data, "MXFP8A16", "weights")
    expected = plain_figures(
        *([m(torch.tensor([s.ids])).logits[0].double().detach() for s in evaluation] for m in (own, quantized)),
        evaluation,
    )
    assert expected["mean_kl"] > 1e-6
    assert figures(checkpoint.effects("MXFP8A16")["MXFP8A16"]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("model_type", ["gemma3", "qwen2_5_vl", "qwen3_5_moe", "bailing_hybrid"])
def test_composite_and_hybrid_models_are_run_with_their_head(model_type: str, tmp_path: Path) -> None:
    config = tiny.config_of(model_type)
    auto = (
        AutoModelForImageTextToText
        if type(config) in AutoModelForImageTextToText._model_mapping
        else AutoModelForCausalLM
    )
    torch.manual_seed(0)
    tiny.save(tmp_path, auto.from_config(config, dtype=torch.float32).eval())
    settings = Settings(model=str(tmp_path), batch_tokens=64)
    effects = measure_effects(locate(settings), settings, [SCHEMES["W8A8"], SCHEMES["FP16"]], {}, encoded(LENGTHS))
    assert 0 < effects["W8A8"].mean_kl < 1
    assert 0 < effects["FP16"].mean_kl < effects["W8A8"].mean_kl


def test_float16_is_the_whole_model_in_float16(qwen3: Measured) -> None:
    evaluation = split(qwen3.sequences, "evaluation")
    own, other = qwen3.model, AutoModelForCausalLM.from_pretrained(qwen3.checkpoint.folder, dtype=torch.float16).eval()
    logits = (
        [m(torch.tensor([s.ids]), use_cache=False).logits[0].double().detach() for s in evaluation]
        for m in (own, other)
    )
    assert figures(qwen3.effects("FP16")["FP16"]) == pytest.approx(plain_figures(*logits, evaluation), rel=0.05)


# -- what must not matter
# --------------------------------------------------------------------------------------------------------------


def test_a_scheme_that_changes_nothing_gives_exactly_nothing() -> None:
    checkpoint = prepared(FIXTURE, max_samples=6, max_seq_len=32, batch_tokens=256)
    effect = checkpoint.effects("BF16")["BF16"]
    assert (effect.mean_kl, effect.kl_q99, effect.top1_agreement, effect.perplexity_ratio) == (0.0, 0.0, 1.0, 1.0)
    assert effect.perplexity > 1.0


def test_with_every_site_kept_nothing_changes(qwen3: Measured) -> None:
    kept = dict.fromkeys(COMPARED, qwen3.linear_inputs)
    for effect in qwen3.effects(*COMPARED, kept=kept).values():
        assert (effect.mean_kl, effect.kl_q99, effect.top1_agreement, effect.perplexity_ratio) == (0.0, 0.0, 1.0, 1.0)
        assert effect.kept == tuple(qwen3.linear_inputs)


def test_layers_of_kept_sites_are_not_quantized_and_the_others_are(qwen3: Measured) -> None:
    evaluation = split(qwen3.sequences, "evaluation")
    observer = Plain(qwen3.model)
    observer.logits(split(qwen3.sequences, "calibration"))
    layers = (
        "layers.0.mlp.down_proj",
        "layers.1.self_attn.q_proj",
        "layers.1.self_attn.k_proj",
        "layers.1.self_attn.v_proj",
    )
    other = Plain(qwen3.model, scheme="NVFP4", amax=observer.amax, kept=layers).logits(evaluation)
    effects = qwen3.effects("NVFP4", "W8A8", kept={"NVFP4": ("layers.1.qkv_in", "layers.0.down_in")})
    expected = plain_figures(Plain(qwen3.model).logits(evaluation), other, evaluation)
    assert figures(effects["NVFP4"]) == pytest.approx(expected, rel=1e-3)
    assert effects["NVFP4"].kept == ("layers.0.down_in", "layers.1.qkv_in")
    assert effects["W8A8"].kept == ()


@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe"])
def test_padding_and_neighbours_do_not_matter(model_type: str, tmp_path: Path) -> None:
    one = measured(tmp_path, headed(model_type))
    many = Measured(one.checkpoint, Settings(model=one.settings.model, batch_tokens=64), one.readings, one.sequences)
    schemes = ("MXFP8A16", "W4A16", "W8A8")
    alone, together, told = one.effects(*schemes), many.effects(*schemes), many.effects(*schemes, alone=True)
    for name in schemes:
        assert figures(together[name]) == pytest.approx(figures(alone[name]), rel=1e-4 if name.endswith("16") else 2e-2)
        assert told[name] == alone[name]


def test_the_model_is_bit_for_bit_its_own_again(qwen3: Measured) -> None:
    stored = load_file(qwen3.checkpoint.folder / "model.safetensors")
    with watched() as (models, _):
        qwen3.effects("FP16", "W8A8", "NVFP4", "BF16")
    (model,) = models
    assert not [module for module in model.modules() if "forward" in vars(module)]
    state = model.state_dict()
    assert state.keys() == stored.keys()
    for name, tensor in stored.items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor), name


def test_no_more_than_a_slice_of_tokens_is_in_the_head(qwen3: Measured) -> None:
    generator = torch.Generator().manual_seed(0)
    long = [
        Encoded(
            sample=Sample(id=f"s{i}", category="a", text=f"{i}"),
            ids=tuple(torch.randint(4, 64, (200,), generator=generator).tolist()),
        )
        for i in range(4)
    ]
    with watched() as (_, rows):
        effect = measure_effects(
            qwen3.checkpoint, Settings(model=qwen3.settings.model, batch_tokens=800), [SCHEMES["W8A8"]], {}, long
        )["W8A8"]
    assert effect.tokens > 2 * HEAD_ROWS
    assert max(rows) == HEAD_ROWS
    assert sum(count for count in rows if count > 8) >= 2 * effect.tokens


def test_a_batch_that_does_not_fit_is_run_in_parts(qwen3: Measured) -> None:
    large = Measured(
        qwen3.checkpoint, Settings(model=qwen3.settings.model, batch_tokens=64), qwen3.readings, qwen3.sequences
    )

    def small_memory(module: nn.Module, args: Any) -> None:
        if isinstance(module, nn.Embedding) and args[0].numel() > 20:
            raise torch.OutOfMemoryError("out of memory")

    handle = nn.modules.module.register_module_forward_pre_hook(small_memory)
    try:
        in_parts = large.effects("W8A16")["W8A16"]
        with pytest.raises(MeasureError) as error:
            measure_effects(large.checkpoint, large.settings, [], {}, encoded([21, 21]))
    finally:
        handle.remove()
    assert figures(in_parts) == pytest.approx(figures(qwen3.effects("W8A16")["W8A16"]), rel=1e-4)
    assert str(error.value).splitlines() == [
        "out of memory on one sample and the head, at most 21 tokens",
        "  lower --maxact-max-seq-len, or use a device with more memory",
    ]


# -- failing closed
# --------------------------------------------------------------------------------------------------------------------


def test_an_overflow_in_float16_is_no_small_number(tmp_path: Path) -> None:
    planted = tiny.planted_model("qwen3", layer=1, value=70000.0)
    model = AutoModelForCausalLM.from_config(tiny.config_of("qwen3"), dtype=torch.bfloat16).eval()
    model.model.load_state_dict(planted.state_dict())
    texts = [(name, f"{text} {tiny.PEAK_WORD} w1") for name, text in tiny.sentences([4] * 6)]
    path = tiny.write_corpus(tmp_path / "corpus.jsonl", texts)
    effects = prepared(tiny.save(tmp_path / "model", model), corpus=str(path)).effects("FP16", "BF16")
    effect = effects["FP16"]
    assert math.isnan(effect.mean_kl)
    assert math.isnan(effect.kl_q99)
    assert math.isnan(effect.perplexity_ratio)
    assert effect.top1_agreement <= 4 / 6
    assert effects["BF16"].mean_kl == 0.0


def test_a_scale_that_is_not_finite_is_no_small_number(qwen3: Measured) -> None:
    """The residual stream of a sample that overflows in calibration: its static scale is infinite."""
    name = "layers.0.down_in"
    reading = qwen3.readings[name]
    assert reading.channels is not None
    (part,) = reading.channels.parts
    broken = {**reading.channels.parts, part: np.full(256, np.inf, np.float32)}
    readings = {**qwen3.readings, name: replace(reading, channels=type(reading.channels)(broken))}
    effect = measure_effects(qwen3.checkpoint, qwen3.settings, [SCHEMES["FP8"]], readings, qwen3.sequences)["FP8"]
    assert math.isnan(effect.mean_kl)
    assert math.isnan(effect.kl_q99)
    assert math.isnan(effect.perplexity_ratio)
    assert effect.top1_agreement == 0.0


def checkpoint_of(model_type: str, **overrides: Any) -> Checkpoint:
    config = AutoConfig.for_model(model_type, **overrides)
    return Checkpoint(
        name="some/model", folder=Path(), revision=None, config=config, trust_remote_code=False, is_hub=False
    )


@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert", "t5", "bart", "vit"])
def test_a_model_without_a_next_token_distribution_is_refused_before_weights_load(model_type: str) -> None:
    with pytest.raises(InputError) as error:
        require_head(checkpoint_of(model_type))
    assert str(error.value).splitlines() == [
        (
            f"some/model ({model_type}) has no next-token distribution that transformers can build, on which the effect"
            " of a scheme is measured"
        ),
        "  leave out --maxact-effect and --maxact-deploy; --maxact-schemes reports without it",
    ]


@pytest.mark.parametrize(
    "model_type", ["llama", "gpt2", "gemma3", "qwen2_5_vl", "qwen3_5", "gpt_oss", "bailing_hybrid"]
)
def test_causal_language_models_have_a_head(model_type: str) -> None:
    require_head(checkpoint_of(model_type))


def test_a_decoder_made_of_an_encoder_has_a_head() -> None:
    require_head(checkpoint_of("bert", is_decoder=True))


def test_a_model_whose_tokens_see_those_after_them_is_refused(tmp_path: Path) -> None:
    config = AutoConfig.for_model("xlnet", d_model=64, n_layer=2, n_head=4, d_inner=96, vocab_size=64)
    torch.manual_seed(0)
    tiny.save(tmp_path / "model", AutoModelForCausalLM.from_config(config).eval())
    texts = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences(LENGTHS))
    checkpoint = prepared(tmp_path / "model", corpus=str(texts))
    with pytest.raises(MeasureError) as error:
        checkpoint.effects("W8A8")
    assert str(error.value).splitlines() == [
        "XLNetLMHeadModel has no next-token distribution: a token sees those after it",
        "  leave out --maxact-effect, which is for causal language models",
    ]


def test_a_checkpoint_without_its_head_is_refused(tmp_path: Path) -> None:
    checkpoint = measured(tmp_path, tiny.random_model("qwen3"))
    with pytest.raises(MeasureError) as error:
        checkpoint.effects("W8A8")
    assert str(error.value).splitlines() == [
        (
            f"the weights of {checkpoint.checkpoint.name} lack the LM head (lm_head.weight), without which there are no"
            " predictions to compare"
        ),
        (
            "  save the model with its head, or leave out --maxact-effect and --maxact-deploy: --maxact-schemes needs"
            " no head"
        ),
    ]


def test_a_head_that_is_the_embedding_need_not_be_stored(tmp_path: Path) -> None:
    checkpoint = measured(tmp_path, tiny.random_model("qwen3", tie_word_embeddings=True))
    assert 0 < checkpoint.effects("W8A8")["W8A8"].mean_kl < 1


@pytest.mark.parametrize(("name", "operand", "group"), [("FP8_BLOCK", "input", 128), ("MXFP4", "weight", 32)])
def test_a_width_that_a_scheme_cannot_quantize_is_refused_with_the_layers_name(
    name: str, operand: str, group: int, tmp_path: Path
) -> None:
    checkpoint = measured(tmp_path, headed("llama", intermediate_size=72))
    stored = load_file(checkpoint.checkpoint.folder / "model.safetensors")
    with watched() as (models, _), pytest.raises(MeasureError) as error:
        checkpoint.effects(name)
    assert str(error.value).splitlines() == [
        (
            f"model.layers.0.mlp.down_proj: {name} cannot quantize its {operand}, 72 is no multiple of its groups of"
            f" {group}"
        ),
        "  keep layers.0.down_in in 16 bits, or choose another scheme",
    ]
    (model,) = models
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in stored.items())
    assert not [module for module in model.modules() if "forward" in vars(module)]
    kept = {name: ("layers.0.down_in", "layers.1.down_in")}
    assert checkpoint.effects(name, kept=kept)[name].mean_kl > 0


def test_a_static_scheme_without_calibration_is_refused(qwen3: Measured) -> None:
    without = Measured(qwen3.checkpoint, qwen3.settings, {}, qwen3.sequences)
    with pytest.raises(MeasureError) as error:
        without.effects("FP8")
    assert str(error.value).splitlines() == [
        "model.layers.0.self_attn.q_proj: FP8 needs the calibration maximum of its input, and the Record has none",
        "  measure again with --maxact-schemes FP8",
    ]


def test_a_site_that_does_not_exist_cannot_be_kept(qwen3: Measured) -> None:
    with pytest.raises(
        InputError,
        match=r"^layers\.7\.down_in is to stay in 16 bits under W8A8, and is no input of linear layers of this model$",
    ):
        qwen3.effects("W8A8", kept={"W8A8": ("layers.7.down_in",)})


def test_a_cast_keeps_no_site(qwen3: Measured) -> None:
    with pytest.raises(
        InputError, match=r"^FP16 casts every tensor, and no site can stay as it is\n  keep no site under FP16$"
    ):
        qwen3.effects("FP16", kept={"FP16": ("layers.0.down_in",)})


def test_samples_of_one_token_predict_nothing(qwen3: Measured) -> None:
    short = [Encoded(sample=Sample(id=f"s{i}", category="a", text=f"{i}"), ids=(5 + i,)) for i in range(3)]
    effect = measure_effects(qwen3.checkpoint, qwen3.settings, [SCHEMES["W8A8"]], {}, short)["W8A8"]
    assert effect.mean_kl > 0
    assert math.isnan(effect.perplexity)
    assert math.isnan(effect.perplexity_ratio)


# -- which samples
# ---------------------------------------------------------------------------------------------------------------------


def long_samples(category: str, count: int, length: int) -> list[Encoded]:
    return [
        Encoded(sample=Sample(id=f"{category}{i:03d}", category=category, text=f"{category}{i}"), ids=(1,) * length)
        for i in range(count)
    ]


def test_categories_take_turns_until_there_are_enough_tokens() -> None:
    sequences = [*long_samples("math", 30, 1000), *long_samples("code", 30, 500), *long_samples("web", 3, 100)]
    chosen = evaluation_samples(sequences)
    assert evaluation_samples(sequences[::-1]) == chosen
    splits = corpus.assign_splits([s.sample for s in sequences])
    evaluation = {
        c: sorted(s.sample.id for s in sequences if s.sample.category == c and splits[s.sample.id] == "evaluation")
        for c in ("code", "math", "web")
    }
    turns = [evaluation[c][turn] for turn in range(20) for c in evaluation if turn < len(evaluation[c])]
    assert [s.sample.id for s in chosen] == turns[: len(chosen)]
    assert sum(map(len, chosen[:-1])) < EFFECT_TOKENS <= sum(map(len, chosen))


def test_one_sample_is_taken_however_long() -> None:
    sequences = long_samples("math", 6, 2 * EFFECT_TOKENS)
    assert len(evaluation_samples(sequences)) == 1


def test_all_are_taken_where_there_are_few() -> None:
    sequences = long_samples("math", 9, 10)
    assert [s.sample.id for s in evaluation_samples(sequences)] == sorted(
        s.sample.id for s in split(sequences, "evaluation")
    )
