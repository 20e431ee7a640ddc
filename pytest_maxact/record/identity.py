"""A checkpoint's identity for the purpose of limits: which family's figures may speak about it, and which shape.

Torch-free: read from the provenance of a Record.
"""

from dataclasses import dataclass, field

from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """`model_type` of the whole checkpoint (a wrapper's, where there is one); depth and width of its language
    backbone; whether its files hold low bits, of which there are checks more, and whether static scales among them are
    held against what is measured.
    """

    model_type: str
    layers: int
    hidden_size: int
    quantized: bool = field(default=False, compare=False)
    static: bool = field(default=False, compare=False)

    @property
    def shape(self) -> str:
        return f"{counted(self.layers, 'layer')} x {self.hidden_size}"


def identity_of(provenance: Provenance, quantized: bool = False, static: bool = False) -> Identity:
    return Identity(
        model_type=provenance.model_type, layers=provenance.layers, hidden_size=provenance.hidden_size,
        quantized=quantized, static=static,
    )  # fmt: skip
