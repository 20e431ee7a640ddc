"""The residual stream over normalised depth: a Record in, its maxima, limits and jumps, and those of published
checkpoints out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_maxact.judge.compare.jumps import jump_layers, stream
from pytest_maxact.judge.figures.cells import Cell
from pytest_maxact.judge.figures.published import published_checkpoints
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import family_speaking_of
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPoint:
    """After one layer, None of the embedding. `depth`: 0 of the embedding, 1 after the last layer. `value` is inf where
    an entry is not finite; `jumps`: whether it is ten times that of the layer before, or more.
    """

    layer: int | None
    depth: float
    value: float
    limit: float | None = None
    jumps: bool = False
    ratio: float | None = None
    """The largest ratio of an entry to its token's median, None where no entry counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedStream:
    """A published checkpoint's. `akin`: whether it is of the model's own family."""

    model: str
    akin: bool
    points: tuple[StreamPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """`family`: the published one that the model is of, "" for none."""

    family: str
    points: tuple[StreamPoint, ...]
    published: tuple[PublishedStream, ...]


def stream_of(record: Record, cells: Sequence[Cell]) -> Stream:
    """`cells`: those of the Record, which know their limits."""
    limits = {cell.site: cell.limit for cell in cells}
    jumps = jump_layers(record)
    family = family_speaking_of(load_limits(), record.provenance.model_type) or ""
    return Stream(
        family=family,
        points=tuple(
            StreamPoint(
                layer=reading.site.layer,
                depth=depth_after(reading.site.layer, record.provenance.layers),
                value=reading.max_abs,
                limit=limits.get(reading.site.name),
                jumps=reading.site.layer in jumps,
                ratio=reading.massive.max_ratio if reading.massive else None,
            )
            for reading in stream(record)
        ),
        published=tuple(
            PublishedStream(
                model=one.name,
                akin=one.family == family,
                points=tuple(
                    StreamPoint(layer=place - 1 if place else None, depth=place / one.layers, value=value)
                    for place, value in enumerate(one.stream)
                ),
            )
            for one in published_checkpoints()
        ),
    )


def depth_after(layer: int | None, layers: int) -> float:
    """Where what leaves a layer stands between the embedding, 0, and the last, 1."""
    return 0.0 if layer is None else (layer + 1) / max(layers, 1)
