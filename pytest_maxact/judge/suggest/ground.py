"""What a limits file says of the shape that evidence speaks about: files and evidence in, one frozen view of both out.
Guard: a family that does not list the model's type is refused, for its limits would not hold for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_maxact.errors import InputError, shown
from pytest_maxact.judge.limits.family import FamilySource
from pytest_maxact.judge.limits.file import LimitsFile
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import family_speaking_of
from pytest_maxact.judge.limits.schema.family import MEASURED_HEADROOM, Family, Shape
from pytest_maxact.judge.suggest.evidence import Evidence
from pytest_maxact.numbers.sites import ATTENTION_KINDS, LINEAR_KINDS
from pytest_maxact.record.metrics.metric import MAX_ABS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One shape in a file, and the evidence on it.

    - `everything`: every figure of the shape is set, else only what has none of its own; `per_layer`: exact names too.
    - `name` and `family`: the family it belongs to, empty where the file `is_new` to it; `index` and `shape`: its
      place in there, and None where the file has no such shape; `asked`: the headroom that family or file state.
    - `stated`: by check, the limits that hold for it as the file is.
    """

    evidence: Evidence
    everything: bool
    per_layer: bool
    name: str
    family: Family
    is_new: bool
    index: int
    shape: Shape | None
    asked: float | None
    stated: Mapping[str, Limit]

    @property
    def kinds(self) -> list[str]:
        """Kinds of a plain pass, and those beside them that the shape limits already."""
        if not self.everything or not self.shape:
            return list(self.evidence.kinds)
        beside = (*LINEAR_KINDS, *ATTENTION_KINDS)
        limited = [kind for kind in beside if kind in self.shape.limits and self.evidence.of_kind(kind)]
        return [*self.evidence.kinds, *limited]

    def is_open(self, check: str) -> bool:
        """Whether nobody stated a limit for it: there is none, or an envelope's."""
        limit = self.stated.get(check)
        return limit is None or limit.envelope

    @property
    def headroom(self) -> float:
        """Of figures that are measured, where the shape does not say."""
        return self.asked or MEASURED_HEADROOM

    def headroom_of(self, key: str) -> float:
        """Of figures of a kind, or of INT-8, that are set."""
        return (self.shape.headroom_of(key, self.headroom) if self.shape else None) or self.headroom

    def headroom_held(self, key: str, *, measured: bool) -> float:
        """What holds for a kind, or for INT-8, as the file is, `measured`: once the shape says what it was measured
        on.
        """
        if self.shape is None:
            return self.headroom
        otherwise = MEASURED_HEADROOM if measured else None
        return self.shape.headroom_of(key, self.asked or otherwise) or 1.0


def ground_of(
    own: LimitsFile | None, files: Sequence[LimitsFile], evidence: Evidence, *, everything: bool, per_layer: bool
) -> Ground:
    """`own`: the file that is edited, None for one that is not there yet; `files`: it and what it extends, or what a
    new one would.
    """
    if not evidence.identity.model_type.isprintable():
        raise InputError(
            f"model_type {shown(evidence.identity.model_type)!r} cannot be the name of a family in a limits file\n"
            "  give the model a model_type that can be read, in its config.json, and measure again"
        )
    families = own.document.families if own else {}
    known = family_speaking_of(files, evidence.identity.model_type)
    name = known or evidence.identity.model_type
    if known is None and name in families and own:
        raise InputError(
            f"{own.where('families', name)}: family {name!r} does not list model_type {name!r}\n"
            f"  add it: `model_types: [{name}]`"
        )
    family = families.get(name, Family())
    shapes = [(shape.layers, shape.hidden_size) for shape in family.shapes]
    here = (evidence.identity.layers, evidence.identity.hidden_size)
    index = shapes.index(here) if here in shapes else len(shapes)
    return Ground(
        evidence=evidence,
        everything=everything,
        per_layer=per_layer,
        name=name,
        family=family,
        is_new=known is None,
        index=index,
        shape=family.shapes[index] if here in shapes else None,
        asked=family.headroom or (own.document.headroom if own else None),
        stated=stated_limits(files, evidence),
    )


def stated_limits(files: Sequence[LimitsFile], evidence: Evidence) -> dict[str, Limit]:
    """By check, the limits on maxima and INT-8 error that files set for the shape of the evidence; empty where no
    family speaks about it.
    """
    name = family_speaking_of(files, evidence.identity.model_type)
    sources = [
        FamilySource(file, name, evidence.identity)
        for file in files
        if name is not None and name in file.document.families
    ]
    found = [
        limit
        for site in evidence.sites
        if (limit := next(filter(None, (source.limit(site, MAX_ABS) for source in sources)), None))
    ]
    int8: list[Limit] = next(filter(None, (source.int8(evidence.sites) for source in sources)), [])
    return {limit.check: limit for limit in (*found, *int8)}
