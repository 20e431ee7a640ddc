"""What the metrics of quantized tensors are: the kinds of findings in, an entry of each metric out."""

from collections.abc import Mapping, Sequence

from pytest_maxact.judge.explain.entry import EXPORT, METRIC, WAIVE, Entry
from pytest_maxact.numbers.lint import LINT_METRICS, LINTS
from pytest_maxact.numbers.lints.kind import LintKind
from pytest_maxact.record.metrics.metric import Kind, Metric


def _entry(metric: str) -> Entry:
    kinds = [kind for kind in LINTS.values() if kind.metric == metric and not kind.remark]
    return Entry(
        name=metric,
        group=METRIC,
        what=f"What is wrong with the {metric.replace('_', ' ')} of a quantized tensor. {_found(kinds)}.",
        unit="a count",
        measured="from headers, scales, zero points and indices, without loading; as `maxact lint` tells it",
        breach="; ".join(dict.fromkeys(kind.runtime for kind in kinds)),
        todo=(*((kind.means, f"{kind.mend} ({kind.source})") for kind in kinds), WAIVE),
    )


def _found(kinds: Sequence[LintKind]) -> str:
    text = "; ".join(kind.means for kind in kinds)
    return text[:1].upper() + text[1:]


def _whole() -> Entry:
    return Entry(
        name="lint",
        group=METRIC,
        what="Faults of quantized tensors. All of those that `maxact lint` finds; each fails by its own name too, as"
        f" `maxact::weights.<tensor>::` and {', '.join(LINT_METRICS)}.",
        unit="a count",
        measured="from headers, scales, zero points and indices of the files that are loaded",
        breach="A runtime misreads, or refuses, what its config does not describe.",
        todo=(
            ("which", "`maxact lint MODEL` tells of every tensor what a runtime does, and how to mend it"),
            EXPORT,
            WAIVE,
        ),
    )


LINT_ENTRIES: Mapping[Kind, Entry] = {
    Kind.LINT: _whole(),
    **{Metric.parse(metric).kind: _entry(metric) for metric in LINT_METRICS},
}
