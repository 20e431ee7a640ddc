"""The weight files against their limits: what every tensor was found to hold in, findings out. One finding for all of
them by each of what can be wrong, and one of its own for every tensor that is wrong.

Guards that what is broken is a failure whether the measurement runs it or not, and that a Record which holds no scan of
its weights passes no check of them: without one there are none, and that is said.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.weights import WEIGHTS, is_of_weights, site_of, tensor_of
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.scales import check_scales, scale_limits
from pytest_maxact.judge.verdict.source import check_source_weights, is_of_source, own_bound, source_faults
from pytest_maxact.judge.verdict.words import origin_words
from pytest_maxact.numbers.counted import counted, counted_of
from pytest_maxact.numbers.lint import LINT_METRICS, Lint, LintFault
from pytest_maxact.numbers.scan import TensorScan, WeightScan
from pytest_maxact.record.metrics.metric import ALL_ZERO, LINT, MISFIT, NONFINITE, STATIC, Metric
from pytest_maxact.record.record import Record

_NAMED = 3
"""How many tensors are named where several are wrong."""
_SOUND = {
    NONFINITE: ("is finite", "are finite"),
    ALL_ZERO: ("holds no matrix of zeros", "hold no matrix of zeros"),
    MISFIT: ("is the one that the config calls for", "are those that the config calls for"),
}
"""What is said of one tensor, and of several."""


def unscanned(record: Record) -> str:
    """What heads a verdict on a Record that holds no scan of its weights; "" where it does."""
    if record.weights is not None:
        return ""
    return (
        "this Record holds no scan of its weights, so what the measurement does not run (head, towers, rows and experts"
        " that no token met) was not checked: measure again"
    )


def with_tensors(record: Record, limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """The limits that a Record can be held to, with one for every tensor at fault. One of an earlier version holds no
    scan of its weights: that is said beside the verdict, and no check of them is among those that hold.
    """
    given = tuple(limit for limit in limits if _is_told(record, limit))
    return (*given, *tensor_limits(record, given))


def tensor_limits(record: Record, limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """A limit for every tensor at fault, of the `limits` on all of them that do not hold; those already among them left
    out.
    """
    given = list(limits)
    known = {limit.check for limit in given}
    return tuple(
        own for limit in given if limit.site == WEIGHTS for own in _of_tensors(record, limit) if own.check not in known
    )


def _of_tensors(record: Record, limit: Limit) -> list[Limit]:
    """A limit on all weights as one of its own for every tensor that breaks it."""
    if limit.metric in STATIC:
        return list(scale_limits(record, limit))
    if is_of_source(limit.metric):
        bound = own_bound(limit)
        return [replace(limit, site=site_of(name), bound=bound) for name in source_faults(record, limit)]
    if record.weights is None or holds(_amount(record.weights, limit.metric), limit):
        return []
    found = _at_fault(record.weights, limit.metric)
    return [replace(limit, site=site_of(name), metric=metric, bound=0.0) for name, metric in found]


def _is_told(record: Record, limit: Limit) -> bool:
    """Whether a Record says anything of what a limit is on."""
    if not is_of_weights(limit.site) or limit.metric in STATIC:
        return True
    if is_of_source(limit.metric):
        return record.source is not None
    return record.is_linted if _is_lint(limit.metric) else record.weights is not None


def _is_lint(metric: Metric) -> bool:
    return metric == LINT or metric.name in LINT_METRICS


def _at_fault(scan: WeightScan, metric: Metric) -> list[tuple[str, Metric]]:
    """Tensors at fault, each with the metric of its own check."""
    if metric == LINT:
        found = dict.fromkeys((fault.tensor, fault.kind.metric) for fault in _red(scan.lint))
        return [(tensor, Metric.parse(name)) for tensor, name in found]
    return [(name, metric) for name in _faults(scan, metric)]


def _amount(scan: WeightScan, metric: Metric) -> float:
    """How much is wrong with all tensors; of lint more than is listed by name."""
    if metric == LINT:
        return float(scan.lint.red if scan.lint else 0)
    return float(sum(_faults(scan, metric).values()))


def _red(lint: Lint | None) -> list[LintFault]:
    return [fault for fault in lint.faults if not fault.kind.remark] if lint else []


def check_weights(record: Record, limit: Limit, waived: Collection[tuple[str | None, str]] = ()) -> Finding:
    """A limit on the weights, or on one tensor; `waived`: the tensors that a waiver lets pass, which then do not count,
    each with the metric of its check.

    Raises MeasureError where the Record holds no scan, InputError for a metric that weights do not have.
    """
    if limit.metric in STATIC:
        return check_scales(record, limit, waived)
    if is_of_source(limit.metric):
        return check_source_weights(record, limit, waived)
    scan = record.weights
    if scan is None or not _is_told(record, limit):
        stated = f", for which {limit.file}:{limit.line} sets a limit" if limit.file else ""
        what = "scan of its weights" if scan is None else "look at the scales of its quantized weights"
        raise MeasureError(f"the Record holds no {what}{stated}\n  measure the checkpoint again")
    if _is_lint(limit.metric):
        value, words = _lint(scan, limit, waived)
        passed = holds(value, limit)
        message = f"{words}; {limit.rule}{origin_words(limit)}"
        return Finding(limit=limit, value=value, passed=passed, reading=None, message=message)
    faults = _faults(scan, limit.metric)
    if (tensor := tensor_of(limit.site)) is not None:
        value = float(faults.get(tensor, 0))
        words = _tensor_words(scan, tensor, limit.metric, value)
    else:
        left = {name: count for name, count in faults.items() if (name, limit.metric.name) not in waived}
        value = float(sum(left.values()))
        words = _sum_words(scan, limit.metric, left, len(faults) - len(left))
    return Finding(
        limit=limit,
        value=value,
        passed=holds(value, limit),
        reading=None,
        message=f"{words}; {limit.rule}{origin_words(limit)}",
    )


def _lint(scan: WeightScan, limit: Limit, waived: Collection[tuple[str | None, str]]) -> tuple[float, str]:
    """How many findings of lint count, and in words which."""
    red, tensor = _red(scan.lint), tensor_of(limit.site)
    if tensor is not None:
        own = [fault for fault in red if fault.tensor == tensor and fault.kind.metric == limit.metric.name]
        if not own:
            return 0.0, f"{tensor}: nothing is wrong with its {limit.metric.name}"
        first = own[0]
        where = f" ({first.where})" if first.where else ""
        wrong = "; ".join(fault.what for fault in own)
        return float(
            len(own)
        ), f"{tensor}{where}: {wrong}: {first.kind.runtime}; {first.kind.mend} ({first.kind.source})"
    left = [fault for fault in red if (fault.tensor, fault.kind.metric) not in waived]
    total = scan.lint.red if scan.lint else 0
    count = total - (len(red) - len(left))
    beside = f", {counted(len(red) - len(left), 'fault')} more waived" if len(red) > len(left) else ""
    modules = counted(scan.lint.modules if scan.lint else 0, "module")
    if not count:
        return 0.0, f"weights: scales and codes of {modules} in low bits are what their config says{beside}"
    named = ", ".join(f"{fault.tensor} ({fault.kind.metric})" for fault in left[:_NAMED])
    more = ", ..." if count > _NAMED else ""
    return float(count), f"weights: {counted(count, 'fault')} of quantized tensors: {named}{more}{beside}"


def _faults(scan: WeightScan, metric: Metric) -> dict[str, int]:
    """By tensor, how much is wrong with it."""
    if metric == NONFINITE:
        return {name: tensor.nonfinite for name, tensor in scan.broken.items()}
    if metric == ALL_ZERO:
        return {name: tensor.empty for name, tensor in scan.empty.items()}
    if metric == MISFIT:
        return dict.fromkeys(scan.misfits, 1)
    raise InputError(
        f"no metric of weights called {metric.name!r}\n  there are {NONFINITE}, {MISFIT}, {ALL_ZERO} and {LINT}"
    )


def _tensor_words(scan: WeightScan, name: str, metric: Metric, value: float) -> str:
    tensor = scan.named.get(name)
    if metric == MISFIT:
        return f"{name}: {scan.misfits.get(name, 'the files hold it as the config calls for it')}"
    if tensor is None or not value:
        what = "finite" if metric == NONFINITE else "no matrix of zeros"
        return f"{name}: {what}"
    if metric == NONFINITE:
        return f"{name}: {int(value)} of {tensor.elements} entries are NaN or infinite ({_described(tensor)})"
    several = f"{int(value)} of its {tensor.shape[0]} matrices are" if len(tensor.shape) > 2 else "every entry is"
    return f"{name}: {several} zero, so it was not saved, not loaded or not trained ({_described(tensor)})"


def _described(tensor: TensorScan) -> str:
    where = f" in {tensor.file}" if tensor.file else ""
    return f"{tensor.dtype} {' x '.join(map(str, tensor.shape)) or 'scalar'}{where}"


def _sum_words(scan: WeightScan, metric: Metric, left: Mapping[str, int], waived: int) -> str:
    beside = f", {waived} more {'is' if waived == 1 else 'are'} waived" if waived else ""
    if not left:
        sound = scan.tensors - waived
        of_all = f"the one tensor{_files(scan)}" if sound == 1 else f"all {sound} tensors{_files(scan)}"
        return f"weights: {of_all} {_SOUND[metric][sound != 1]}{beside}"
    count, where = sum(left.values()), counted_of(len(left), scan.tensors, "tensor")
    what = {
        NONFINITE: f"{count} NaN or infinite {'entry' if count == 1 else 'entries'} in {where}",
        ALL_ZERO: f"{counted(count, 'matrix')} of nothing but zeros in {where}",
        MISFIT: f"{counted(count, 'tensor', 'is not the one', 'are not those')} that the config calls for",
    }
    named = ", ".join(list(left)[:_NAMED]) + (", ..." if len(left) > _NAMED else "")
    return f"weights: {what[metric]}: {named}{beside}"


def _files(scan: WeightScan) -> str:
    """Where they lie; a model in training has no files yet."""
    return f" in {scan.files[0] if len(scan.files) == 1 else f'{len(scan.files)} files'}" if scan.files else ""
