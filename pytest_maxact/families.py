"""A checkpoint's identity for the purpose of limits: which family's figures may speak about it, and which shape.

Torch-free: works on a transformers config object, and on the provenance of a Record.
"""

from dataclasses import dataclass
from typing import Any

from pytest_maxact.record import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """`model_type` of the whole checkpoint (a wrapper's, where there is one); depth and width of its language backbone."""

    model_type: str
    layers: int
    hidden_size: int

    @property
    def shape(self) -> str:
        return f"{self.layers} layers x {self.hidden_size}"


def identify(config: Any) -> Identity:
    """Identity of a transformers config; composite configs are read through their text part."""
    text = config.get_text_config()
    return Identity(model_type=config.model_type, layers=text.num_hidden_layers, hidden_size=text.hidden_size)


def identity_of(provenance: Provenance) -> Identity:
    return Identity(model_type=provenance.model_type, layers=provenance.layers, hidden_size=provenance.hidden_size)
