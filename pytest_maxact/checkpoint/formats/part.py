"""A tensor of a file, as what makes up a weight or a scale; no more than its header is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.headers import Header

Tensors = Mapping[str, Any]
"""By the names that they have in their module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A tensor of a file."""

    file: Path
    header: Header

    @property
    def dtype(self) -> str:
        return self.header.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape
