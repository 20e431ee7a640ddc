"""GGUF files of llama.cpp, written by the package gguf: a tiny Llama with its config and tokenizer inside."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize
from tokenizers.pre_tokenizers import ByteLevel

from tests.support.exports.source import Tensors, source, tensors_of

HEADS, KV_HEADS = 4, 2
_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def dense(folder: Path) -> Path:
    """The Llama that `export` writes, as its source would be."""
    return source(folder, "llama", num_hidden_layers=1, vocab_size=258)


def export(
    file: Path, kind: str = "Q4_1", origin: Path | None = None, tensors_each: int = 0, architecture: str = "llama",
    tokenizer: bool = True, adds_bos: bool = False, beside: Sequence[str] = (),
) -> Path:  # fmt: skip
    """The file, its matrices in blocks of this kind, and rows of norms in float32; or the first of its parts, of so
    many tensors each. `beside`: names of vectors that it has besides.
    """
    tensors = tensors_of(origin or dense(file.with_name(f"{file.stem}-source")))
    writer = GGUFWriter(file, architecture, split_max_tensors=tensors_each)
    _add_config(writer)
    if tokenizer:
        add_tokenizer(writer)
        writer.add_add_bos_token(adds_bos)
    for name, tensor in tensors.items():
        values = permuted(name, tensor.float()).numpy()
        of = GGMLQuantizationType[kind] if tensor.ndim == 2 else GGMLQuantizationType.F32
        writer.add_tensor(called(name), quantize(values, of), raw_dtype=of)
    for name in beside:
        writer.add_tensor(name, np.ones(256, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    parts = sorted(file.parent.glob(f"{file.stem}-00001-of-*.gguf"))
    return parts[0] if tensors_each else file


def in_random_blocks(file: Path, kind: str) -> Path:
    """A file like that of `export` whose matrices, where blocks divide their rows, are in a kind that gguf reads and
    does not write: any bytes of it that are no NaN.
    """
    of = GGMLQuantizationType[kind]
    made, random = np.random.default_rng(0), dense(file.with_name(f"{file.stem}-source"))
    writer = GGUFWriter(file, "llama")
    _add_config(writer)
    add_tokenizer(writer)
    for name, tensor in tensors_of(random).items():
        entries, size = GGML_QUANT_SIZES[of]
        if tensor.ndim == 1 or tensor.shape[1] % entries:
            writer.add_tensor(called(name), permuted(name, tensor.float()).numpy(), raw_dtype=GGMLQuantizationType.F32)
            continue
        raw = made.integers(0, 64, (tensor.shape[0], tensor.shape[1] // entries * size), dtype=np.uint8)
        writer.add_tensor(called(name), raw, raw_dtype=of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def called(name: str) -> str:
    """A tensor's name as llama.cpp has it."""
    module, _, own = name.rpartition(".")
    if not module.startswith("model.layers."):
        return f"{_NAMES[module]}.{own}"
    layer, _, rest = module.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_NAMES[rest]}.{own}"


def permuted(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Rows of queries and keys in the order in which llama.cpp rotates them."""
    heads = HEADS if name.endswith("q_proj.weight") else KV_HEADS if name.endswith("k_proj.weight") else 0
    if not heads:
        return tensor
    return tensor.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2).contiguous()


def unpermuted(tensors: Tensors) -> Tensors:
    """The reverse, of tensors by their names in a model."""

    def back(name: str, tensor: torch.Tensor) -> torch.Tensor:
        order = permuted(name, torch.arange(tensor.shape[0]).unsqueeze(1)).flatten()
        return tensor[torch.argsort(order)]

    return {name: back(name, tensor) for name, tensor in tensors.items()}


def _add_config(writer: Any) -> None:
    writer.add_name("tiny")
    writer.add_block_count(1)
    writer.add_context_length(256)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(384)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(32)
    writer.add_value_length(32)
    writer.add_rope_dimension_count(32)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(258)


def add_tokenizer(writer: Any) -> None:
    """Of 258 tokens: every byte, one pair, one control."""
    letters = sorted(ByteLevel.alphabet())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["<s>", *letters, "ab"])
    writer.add_token_types([TokenType.CONTROL, *[TokenType.NORMAL] * (len(letters) + 1)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


def damaged(file: Path, name: str, scale: float) -> Path:
    """The file with the scale of one block of a tensor in Q4_1 replaced."""
    from gguf import GGUFReader

    tensor = next(one for one in GGUFReader(file).tensors if one.name == name)
    content = bytearray(file.read_bytes())
    content[tensor.data_offset : tensor.data_offset + 2] = np.float16(scale).tobytes()
    file.write_bytes(content)
    return file
