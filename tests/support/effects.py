"""Effects of a scheme on predictions, measured by the gate and the slow and plain way."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compressed_tensors.quantization import fake_quantize
from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme
from compressed_tensors.quantization.utils.helpers import (
    calculate_qparams,
    compute_dynamic_scales_and_zp,
    generate_gparam,
)
from torch import nn
from torch.distributions import Categorical, kl_divergence
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from pytest_maxact import corpus
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.measure.effect.effects import (
    measure_effects,
)
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.settings.settings import Settings
from tests.support import tiny

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
            elif isinstance(getattr(module, "gate_up_proj", None), nn.Parameter) and module.gate_up_proj.ndim == 3:
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
    beside: Sequence[Encoded] = ()
    """Samples as they are deployed, which calibrate static scales too."""

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
    settings = Settings(
        model=str(checkpoint), **{"batch_tokens": 1, "sites": "deploy", "arithmetic": "native", **options}
    )
    ready = prepare(settings)
    return Measured(ready.checkpoint, settings, measure(ready, settings, None).sites, ready.sequences, ready.beside)


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
