"""A checkpoint whose modelling code comes with its weights, built like Ling: another tree of names, experts as a list,
a router that also returns its choice, a prediction layer beyond the depth, and an embedding that this layer looks up a
second time.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.support import tiny

CONFIGURATION = """
from transformers import PreTrainedConfig


class BailingMoeConfig(PreTrainedConfig):
    model_type = "bailing_moe"

    def __init__(self, hidden_size=64, num_hidden_layers=3, num_experts=4, num_experts_per_tok=2,
                 num_nextn_predict_layers=1,
                 vocab_size=64,
                 first_k_dense_replace=1, **kwargs):
        self.hidden_size, self.num_hidden_layers, self.vocab_size = hidden_size, num_hidden_layers, vocab_size
        self.num_experts, self.num_experts_per_tok = num_experts, num_experts_per_tok
        self.first_k_dense_replace = first_k_dense_replace
        self.num_nextn_predict_layers = num_nextn_predict_layers
        super().__init__(**kwargs)
"""

MODELING = """
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutputWithPast

from .configuration_bailing_moe import BailingMoeConfig


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Mlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down_proj, self.act_fn = nn.Linear(inner, width, bias=False), ACT2FN["silu"]

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class Gate(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.weight = nn.Parameter(torch.zeros(config.num_experts, config.hidden_size))

    def forward(self, states):
        logits = nn.functional.linear(states.reshape(-1, states.shape[-1]).float(), self.weight.float())
        weight, index = logits.sigmoid().topk(self.top_k, dim=-1)
        return index, weight, logits


class Moe(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.experts = nn.ModuleList([Mlp(config.hidden_size, 32) for _ in range(config.num_experts)])
        self.gate = Gate(config)
        self.shared_experts = Mlp(config.hidden_size, 16)

    def forward(self, states):
        shape = states.shape
        index, weight, logits = self.gate(states)
        flat = states.reshape(-1, shape[-1])
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            token, slot = torch.where(index == number)
            if len(token):
                out.index_add_(0, token, expert(flat[token]) * weight[token, slot, None].to(flat.dtype))
        return out.view(shape) + self.shared_experts(states), (logits, index)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x):
        q, k, v = self.query_key_value(x).chunk(3, dim=-1)
        return self.dense(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)), None


class Layer(nn.Module):
    def __init__(self, config, number):
        super().__init__()
        self.input_layernorm, self.attention = Norm(config.hidden_size), Attention(config)
        self.post_attention_layernorm = Norm(config.hidden_size)
        self.mlp = Mlp(config.hidden_size, 96) if number < config.first_k_dense_replace else Moe(config)

    def forward(self, x):
        x = x + self.attention(self.input_layernorm(x))[0]
        out = self.mlp(self.post_attention_layernorm(x))
        return (x + (out[0] if isinstance(out, tuple) else out),)


class BailingMoeModel(PreTrainedModel):
    config_class = BailingMoeConfig
    base_model_prefix = "model"

    def __init__(self, config):
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        layers = config.num_hidden_layers + config.num_nextn_predict_layers
        self.layers = nn.ModuleList([Layer(config, i) for i in range(layers)])
        self.norm = Norm(config.hidden_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.word_embeddings

    def forward(self, input_ids=None, attention_mask=None, use_cache=None, **kwargs):
        x = self.word_embeddings(input_ids)
        for layer in self.layers[: self.config.num_hidden_layers]:
            (x,) = layer(x)
        for layer in self.layers[self.config.num_hidden_layers :]:
            layer(x + self.word_embeddings(input_ids.roll(-1, 1)))
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x))
"""


def write(folder: Path) -> Path:
    """The checkpoint's folder: config, code, random weights and a tokenizer."""
    folder.mkdir()
    (folder / "configuration_bailing_moe.py").write_text(CONFIGURATION)
    (folder / "modeling_bailing_moe.py").write_text(MODELING)
    auto_map = {
        "AutoConfig": "configuration_bailing_moe.BailingMoeConfig",
        "AutoModel": "modeling_bailing_moe.BailingMoeModel",
    }
    config = {
        "model_type": "bailing_moe",
        "auto_map": auto_map,
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "vocab_size": 64,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    tiny.word_tokenizer().save_pretrained(folder)
    torch.manual_seed(0)
    save_file(
        {name: torch.randn(shape) * 0.15 for name, shape in _shapes().items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder


def _shapes() -> dict[str, tuple[int, ...]]:
    def mlp(name: str, inner: int) -> dict[str, tuple[int, ...]]:
        return {
            f"{name}.gate_proj.weight": (inner, 64),
            f"{name}.up_proj.weight": (inner, 64),
            f"{name}.down_proj.weight": (64, inner),
        }

    shapes: dict[str, tuple[int, ...]] = {"word_embeddings.weight": (64, 64), "norm.weight": (64,)}
    for i in range(4):
        layer = f"layers.{i}"
        shapes |= {f"{layer}.{norm}.weight": (64,) for norm in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {f"{layer}.attention.query_key_value.weight": (192, 64), f"{layer}.attention.dense.weight": (64, 64)}
        if i == 0:
            shapes |= mlp(f"{layer}.mlp", 96)
        else:
            shapes |= {f"{layer}.mlp.gate.weight": (4, 64)} | mlp(f"{layer}.mlp.shared_experts", 16)
            for expert in range(4):
                shapes |= mlp(f"{layer}.mlp.experts.{expert}", 32)
    return shapes
