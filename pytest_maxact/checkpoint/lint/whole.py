"""What concerns a checkpoint as a whole: a head that is missing, and scales of one layer far from those of the others.
Headers and the largest scales in, findings out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, log10

from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.lint.artifact import Artifact, fault
from pytest_maxact.checkpoint.lint.names import Module, layer_of
from pytest_maxact.numbers.lint import LintFault

_HEAD = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output|head|score|classifier)(?:\.|$)")
FAR = 1000.0
"""How many times larger or smaller the scales of a layer are than those of the middle one, to be remarked on."""
_LAYERS = 4


def head_faults(found: Artifact) -> Iterator[LintFault]:
    """A causal language model whose config says that its head is not tied, and whose files hold none."""
    config = found.text_config
    if config.get("tie_word_embeddings") is not False or not any(
        str(name).endswith("ForCausalLM") for name in _listed(found.config.get("architectures"))
    ):
        return
    rows = config.get("vocab_size")
    wide = [
        header
        for header in found.headers.values()
        if len(header.shape) == 2 and layer_of(header.key) is None and header.shape[0] == rows
    ]
    if not any(_HEAD.search(key) for key in found.headers) and len(wide) < 2 and layer_keys(found):
        yield fault("head", "lm_head.weight", "no file holds it, and tie_word_embeddings is false")


def layer_keys(found: Artifact) -> bool:
    return any(layer_of(key) is not None for key in found.headers)


def far_faults(largest: Mapping[str, tuple[Module, Header, float]]) -> Iterator[LintFault]:
    """`largest`: by tensor, its module and the largest of its scales."""
    roles: dict[tuple[str, str], list[tuple[Header, float]]] = {}
    for key, (module, header, value) in largest.items():
        if value > 0 and isfinite(value):
            roles.setdefault((module.role, key.rpartition(".")[2]), []).append((header, value))
    for entries in roles.values():
        yield from _far(entries)


def _far(entries: Sequence[tuple[Header, float]]) -> Iterator[LintFault]:
    if len(entries) < _LAYERS:
        return
    ordered = sorted(value for _, value in entries)
    middle = ordered[len(ordered) // 2]
    for header, value in entries:
        if abs(log10(value / middle)) >= log10(FAR):
            yield fault("scale_far", header.key, f"its largest is {value:.3g}, and {middle:.3g} in the middle layer")


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []
