"""A model whose largest activation one rare pair of tokens reaches, and no other input: the first anywhere before the
second.

Attention without queries looks at all tokens alike and copies the flag of the first token into a channel of its own;
the gate of one neuron reads the second token, its other factor that channel, and its product is written to one channel.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from tests.support import tiny

FIRST, SECOND = "w58", "w59"
_SEEN, _NOW, _COPIED = 1, 3, 4


def rare_pair_model(value: float, vocabulary: int = 64) -> Any:
    """About `value` for the pair alone, less the more stands before it."""
    model = AutoModel.from_config(tiny.config_of("llama", vocab_size=vocabulary), dtype=torch.float32).eval()
    first, second = (tiny.word_tokenizer().get_vocab()[word] for word in (FIRST, SECOND))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        embedding = model.get_input_embeddings().weight
        embedding[:, tiny.PLAIN_CHANNEL] = 4.0
        for token, channel in ((first, _SEEN), (second, _NOW)):
            embedding[token] = 0.0
            embedding[token, channel] = 4.0
        layer = model.layers[1]
        layer.self_attn.v_proj.weight[0, _SEEN] = 1.0
        layer.self_attn.o_proj.weight[_COPIED, 0] = 0.5
        layer.mlp.gate_proj.weight[0, _NOW] = 4.0
        layer.mlp.up_proj.weight[0, _COPIED] = 1.0
        layer.mlp.down_proj.weight[tiny.PEAK_CHANNEL, 0] = value / 102.4
    return model


def save_rare_pair(folder: Path, value: float) -> tuple[Path, Path]:
    """The checkpoint, and a corpus in whose samples either token stands, and never both."""
    texts = [("first", f"w1 {FIRST} w2 w3 w4"), ("second", f"w3 {SECOND} w4 w5 w6"), ("neither", "w1 w7 w8 w9 w10")]
    return tiny.save(folder / "model", rare_pair_model(value)), tiny.write_corpus(folder / "corpus.jsonl", texts)
