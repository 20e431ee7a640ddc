"""What a look at the tensors of a quantized checkpoint can find, in a table: the finding, what a runtime makes of it,
how it is mended and where that is told; and what was found of one checkpoint, as plain data.

Guards that a finding is worded once: command, gate and documentation read the same lines.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_maxact.numbers.checked import Count
from pytest_maxact.numbers.lints.checkpoints import OF_CHECKPOINTS
from pytest_maxact.numbers.lints.kind import LintKind
from pytest_maxact.numbers.lints.remarks import REMARKS
from pytest_maxact.numbers.lints.tensors import OF_TENSORS

LISTED = 64
"""How many findings of one kind are kept by name; all are counted."""
LINTS: Mapping[str, LintKind] = {**OF_TENSORS, **OF_CHECKPOINTS, **REMARKS}
"""By the code of a finding."""
LINT_METRICS = tuple(dict.fromkeys(kind.metric for kind in LINTS.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFault:
    """A finding: its `code` in LINTS, the `tensor` (or file) by its name, with layer and expert where it has one, and
    in words `what` is wrong.
    """

    code: str
    tensor: str
    what: str
    layer: Count | None = None
    expert: Count | None = None

    @property
    def kind(self) -> LintKind:
        return LINTS[self.code]

    @property
    def where(self) -> str:
        parts = [f"layer {self.layer}"] if self.layer is not None else []
        return ", ".join([*parts, *([f"expert {self.expert}"] if self.expert is not None else [])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """What was found of a checkpoint: the `form` it is in, in words, how many tensors, and `modules` with weights in
    low bits; the findings, of each kind the first LISTED, and how many there are of each, by code.
    """

    form: str
    tensors: Count
    modules: Count
    faults: tuple[LintFault, ...] = ()
    counts: Mapping[str, Count] = field(default_factory=dict)

    @property
    def red(self) -> int:
        """How many findings are no remarks."""
        return sum(count for code, count in self.counts.items() if not LINTS[code].remark)

    def by_kind(self, *, remarks: bool) -> dict[str, list[LintFault]]:
        """Findings, or remarks, by code, in the order of the table."""
        found: dict[str, list[LintFault]] = {code: [] for code, kind in LINTS.items() if kind.remark == remarks}
        for fault in self.faults:
            if fault.code in found:
                found[fault.code].append(fault)
        return {code: faults for code, faults in found.items() if faults}


def lint_of(form: str, tensors: int, modules: int, faults: Iterable[LintFault]) -> Lint:
    """The same finding twice counts once; of many of a kind the first are kept."""
    counts: Counter[str] = Counter()
    kept = []
    for fault in dict.fromkeys(faults):
        counts[fault.code] += 1
        if counts[fault.code] <= LISTED:
            kept.append(fault)
    return Lint(form=form, tensors=tensors, modules=modules, faults=tuple(kept), counts=dict(counts))
