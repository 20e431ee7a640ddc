"""An artifact in low bits: a Record in, what a look at its tensors found, and how far it is from its source, out.

Guards that all findings are counted, though only the first of a kind are kept by name.
"""

from dataclasses import dataclass

from pytest_maxact.judge.figures.words import plain
from pytest_maxact.judge.trust.departed import believed
from pytest_maxact.numbers.lint import LINTS, Lint
from pytest_maxact.record.record import Record
from pytest_maxact.record.source import AgainstSource, Departure


@dataclass(frozen=True, slots=True, kw_only=True)
class LintCount:
    """How often one kind of finding was made, what it means, its first tensor with what is wrong there, and whether it
    is a remark, which fails nothing.
    """

    code: str
    count: int
    means: str
    first: str
    remark: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWeight:
    """One weight against the source's: its SQNR and what rounding to the same form gives, in dB; NaN where not told."""

    weight: str
    layer: int | None
    form: str
    sqnr_db: float
    expected_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDrawn:
    """`compared`: weights in low bits, of which those furthest from what rounding gives are told; `changed`, `missing`
    and `extra`: tensors in 16 bits that differ, and those that one of the two lacks.
    """

    name: str
    compared: int
    weights: tuple[SourceWeight, ...]
    changed: int
    missing: int
    extra: int
    predictions: Departure | None
    unpredicted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactDrawn:
    """`lint` is None of weights in 16 bits, and of a Record that did not look; `form` and `tensors`: what was looked
    at. `source` is None where none was compared.
    """

    form: str
    tensors: int
    lint: tuple[LintCount, ...] | None
    source: SourceDrawn | None


def artifact_drawn(record: Record) -> ArtifactDrawn:
    lint = record.weights.lint if record.weights else None
    return ArtifactDrawn(
        form=plain(lint.form) if lint else "",
        tensors=lint.tensors if lint else 0,
        lint=_counts(lint) if lint else None,
        source=_source(believed(record.source)) if record.source else None,
    )


def _counts(lint: Lint) -> tuple[LintCount, ...]:
    firsts = {fault.code: fault for fault in reversed(lint.faults)}
    return tuple(
        LintCount(
            code=code,
            count=lint.counts[code],
            means=kind.means,
            first=plain(f"{firsts[code].tensor}: {firsts[code].what}", 160) if code in firsts else "",
            remark=kind.remark,
        )
        for code, kind in LINTS.items()
        if lint.counts.get(code)
    )


def _source(source: AgainstSource) -> SourceDrawn:
    weights = source.weights
    return SourceDrawn(
        name=plain(source.name),
        compared=weights.low,
        weights=tuple(
            SourceWeight(
                weight=plain(name),
                layer=one.layer,
                form=plain(one.form),
                sqnr_db=one.sqnr_db,
                expected_db=one.expected_db,
            )
            for name, one in weights.lows.items()
        ),
        changed=len(weights.changed),
        missing=len(weights.missing),
        extra=len(weights.extra),
        predictions=source.predictions,
        unpredicted=plain(source.unpredicted, 200),
    )
