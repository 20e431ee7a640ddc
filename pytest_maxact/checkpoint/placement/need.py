"""What a pass needs in memory, told before anything is loaded: a model without weights, its dtype and the batches in,
bytes out.

Guard: what is not known is taken at its most; a need that is told too small would end in the OOM killer.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.sites.modules import has_matrix

HEAD_ROWS = 128
"""So many tokens are in the head at once."""
MARGIN, LEAST_MARGIN = 1 / 8, 128 << 20
"""Of what is needed, so much more has to be free, and so many bytes at least: for the allocator, and what is not
foreseen."""
_READING = 64 << 20
"""The weight files are read beside the pass, in pieces."""
_WIDE = 1 << 28
"""A matrix that is widened, or counted, at once takes no more bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Bytes of a pass: `weights` in the dtype that is measured in, of them the `largest` part that is never split and
    the `matrix` that is largest; `activations` of one batch with what is made of them while they are counted;
    `accumulators`; the `head`'s logits; `copies` of weights that schemes make. `files`: what is mapped while it is
    loaded. `alone`: the activations of the longest sequence by itself, which is as far as batches may be halved.
    """

    weights: int
    largest: int
    matrix: int
    activations: int
    accumulators: int
    head: int
    copies: int
    files: int
    alone: int

    @property
    def beside(self) -> int:
        """All that is needed besides the weights."""
        return self.activations + self.accumulators + self.head + self.copies + _READING

    @property
    def whole(self) -> int:
        """With all weights in one place, and the margin."""
        return with_margin(self.weights + self.beside)

    @property
    def a_part(self) -> int:
        """With one part of the model at a time, and the one that is made ready beside it."""
        return with_margin(2 * self.largest + self.beside)

    def halved(self) -> "Need":
        """Of a device on which a batch that runs out of memory is halved and runs again, at the least."""
        return replace(self, activations=min(self.activations, self.alone))


def with_margin(size: int) -> int:
    return size + max(int(size * MARGIN), LEAST_MARGIN)


def need_of(
    whole: nn.Module, dtype: str, *, batch_tokens: int, longest: int, accumulators: int, files: int, cast: bool = False
) -> Need:
    """Of a model on the meta device, over batches of so many tokens, the `longest` sequence among them. `cast`: a
    scheme casts the whole model, which is held aside meanwhile.
    """
    size = getattr(torch, dtype).itemsize
    per_token = size * _width_of_a_layer(whole) + _counting(whole, size)
    text = whole.config.get_text_config()  # type: ignore[operator, union-attr]
    vocabulary = int(getattr(text, "vocab_size", 0) or 0)
    weights: int = size * sum(parameter.numel() for parameter in whole.parameters())
    matrix: int = max((parameter.numel() for parameter in whole.parameters()), default=0)

    def activations(tokens: int) -> int:
        found: int = tokens * per_token + _attention(text, tokens, longest, size) + min(4 * matrix, _WIDE)
        return found

    return Need(
        weights=weights,
        largest=size * max((_numel(part) for part in parts_of(whole)), default=0),
        matrix=size * matrix,
        activations=activations(max(batch_tokens, longest)),
        accumulators=accumulators,
        head=HEAD_ROWS * vocabulary * 12,
        copies=weights if cast else 0,
        files=files,
        alone=activations(longest),
    )


def parts_of(whole: nn.Module) -> Iterator[nn.Module]:
    """What is never split over devices: a decoder layer, and matrices outside of the layers."""
    for part in whole.children():
        if isinstance(part, nn.ModuleList) and len(part) and has_matrix(part[0]):
            yield from part
        elif any(isinstance(inner, nn.ModuleList) and has_matrix(inner) for inner in part.modules()):
            yield from parts_of(part)
        else:
            yield part


def layers_of(whole: nn.Module) -> list[nn.Module]:
    """The decoder layers among them: members of lists."""
    inside = {id(member) for module in whole.modules() if isinstance(module, nn.ModuleList) for member in module}
    return [part for part in parts_of(whole) if id(part) in inside]


def products_of(part: nn.Module, top_k: int) -> Iterator[tuple[int, int, int]]:
    """Matrices that a token is multiplied with in a part: how many of each, and its two sides. Of stacked ones, of
    experts, a token meets `top_k`.
    """
    for parameter in part.parameters():
        sides = [side for side in parameter.shape if side > 1]
        if len(sides) == 2:
            yield 1, *parameter.shape[-2:]
        elif len(sides) == 3:
            yield min(top_k, parameter.shape[0]), *parameter.shape[-2:]


def top_k_of(whole: Any) -> int:
    """Experts that a token takes, as the config states it; 1 where it states none."""
    text = whole.config.get_text_config()
    named = (getattr(text, name, None) for name in ("num_experts_per_tok", "num_experts_per_token", "moe_top_k"))
    return next((found for found in named if isinstance(found, int)), 1)


def _numel(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def _width_of_a_layer(whole: nn.Module) -> int:
    """Entries that a token takes at once in the layer where it takes most: what all matrices of the layer give, as
    though nothing were let go of before its end, and the residual stream.
    """
    top_k = top_k_of(whole)
    widths = [
        sum(times * max(sides) for times, *sides in products_of(layer, top_k)) + 4 * _stream(whole)
        for layer in layers_of(whole) or [whole]
    ]
    return max(widths, default=0)


def _counting(whole: nn.Module, size: int) -> int:
    """Bytes a token that are made of its widest tensor while that is counted: keys, bins and masks of every entry."""
    widest = max(
        (times * max(sides) for layer in layers_of(whole) or [whole] for times, *sides in products_of(layer, 1)),
        default=_stream(whole),
    )
    return widest * (12 if size == 4 else 8)


def _stream(whole: Any) -> int:
    return int(getattr(whole.config.get_text_config(), "hidden_size", 0) or 0)


def _attention(text: Any, tokens: int, longest: int, size: int) -> int:
    """Masks of all sequences of a batch, as long as the longest; and scores, where they are computed whole."""
    pairs = tokens * longest
    eager = str(getattr(text, "_attn_implementation", None)) in ("eager", "None")
    heads = int(getattr(text, "num_attention_heads", 1) or 1)
    return pairs * (2 * size + (heads * (size + 4) if eager else 0))
