"""Before and after: a Record, those it is compared with and findings in, every site of both out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_maxact.judge.compare.comparison import compare
from pytest_maxact.judge.figures.cells import depth_of
from pytest_maxact.judge.figures.words import plain
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One site in both: the largest magnitudes, inf where an entry is not finite, their ratio, and how far the
    distribution shifted, NaN where that is not known. `failing`: checks against this baseline that fail there.
    """

    site: str
    kind: str
    depth: int
    before: float
    after: float
    ratio: float
    shift: float
    failing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstDrawn:
    """One baseline. `gone` and `new`: sites that only one of the two has."""

    name: str
    changes: tuple[Change, ...]
    gone: tuple[str, ...]
    new: tuple[str, ...]
    failing: tuple[str, ...]
    """Checks of the whole model against it that fail."""


def against_drawn(
    record: Record, baselines: Mapping[str, Record], findings: Sequence[Finding]
) -> tuple[AgainstDrawn, ...]:
    return tuple(
        _against(record, name, before, [one for one in findings if one.limit.against == name])
        for name, before in baselines.items()
    )


def _against(record: Record, name: str, before: Record, findings: Sequence[Finding]) -> AgainstDrawn:
    found = compare(before, record, is_source=any(one.limit.of_source for one in findings))
    failing = [one for one in findings if not one.accepted]
    return AgainstDrawn(
        name=plain(name),
        changes=tuple(
            Change(
                site=one.site,
                kind=one.kind,
                depth=depth_of(record.sites[one.site], record.provenance.layers),
                before=one.before,
                after=one.after,
                ratio=one.ratio,
                shift=one.shift,
                failing=tuple(breach.limit.metric.name for breach in failing if breach.site == one.site),
            )
            for one in found.changes
        ),
        gone=found.gone,
        new=found.new,
        failing=tuple(one.limit.metric.name for one in failing if one.reading is None),
    )
