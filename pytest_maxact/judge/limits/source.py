"""Limits on an artifact against its source, from the `artifact:` section: on all its weights, and on its predictions.

Of several statements the most specific wins: the user's file before the shipped one; within a file a pattern of forms
that the artifact's meets before what holds for all. Guards that no artifact is compared with nothing held against it.
"""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import LimitsFile, builtin_path
from pytest_maxact.judge.limits.limit import PREDICTIONS, Limit, specificity
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.schema.artifact import Made
from pytest_maxact.judge.limits.weights import WEIGHTS
from pytest_maxact.record.metrics.metric import OF_SOURCE, Metric
from pytest_maxact.record.source import QUANTITIES, Compared

_NONE_ALLOWED = ("max_changed", "max_unmatched")
"""Bounds that are zero where no file says anything of them."""
_RULE = "against the source"
_OF_A_RECORD = (
    "weights and predictions are not compared with the source: a Record of it holds neither, give the checkpoint when "
    "the artifact is measured"
)
_UNPREDICTED = "predictions are not compared with the source: the artifact's own cannot be told"


def with_source(rules: Ruleset, files: Sequence[LimitsFile], compared: Compared | None, *, asked: bool) -> Ruleset:
    """The same with checks of an artifact against its source, where the two are compared; where a source was `asked`
    for and not all is, that is remarked.
    """
    if compared is None:
        return replace(rules, remarks=(*rules.remarks, _OF_A_RECORD)) if asked else rules
    found = source_limits(files, compared.form, predicted=compared.predicted)
    unpredicted = () if compared.predicted else (_UNPREDICTED,)
    return replace(rules, limits=(*rules.limits, *found), remarks=(*rules.remarks, *unpredicted))


def source_limits(files: Sequence[LimitsFile], form: str, *, predicted: bool) -> list[Limit]:
    """`form`: of the artifact, empty where it lies in 16 bits; `predicted`: whether predictions are compared. Raises
    InputError where no file says anything of what was compared.
    """
    found = list(_of(files, form, predicted))
    stated = {limit.site for limit in found if limit.line}
    if lacking := {WEIGHTS, *([PREDICTIONS] if predicted else [])} - stated:
        raise InputError(
            f"{files[0].path} sets no limit on {'weights' if WEIGHTS in lacking else 'predictions'} of an artifact, so "
            "nothing would be compared with its source\n"
            "  add `artifact: {max_loss_db: 6, max_mean_kl: 0.1}`, or `extends: builtin` for the shipped ones"
        )
    return found


def _of(files: Sequence[LimitsFile], form: str, predicted: bool) -> Iterator[Limit]:
    for key in Made.model_fields:
        sense, _, quantity = key.partition("_")
        is_of_predictions = quantity in QUANTITIES
        if is_of_predictions and not predicted:
            continue
        stated = _stated(files, form, key)
        if stated is None and key in _NONE_ALLOWED:
            stated = 0.0, str(builtin_path()), 0, ""
        if stated is not None:
            bound, file, line, source = stated
            yield Limit(
                site=PREDICTIONS if is_of_predictions else WEIGHTS,
                metric=Metric.parse(f"{OF_SOURCE}{quantity}"),
                bound=bound,
                sense=sense,
                rule=f"{_RULE}, {form}" if form else _RULE,
                source=source,
                file=file,
                line=line,
            )


def _stated(files: Sequence[LimitsFile], form: str, key: str) -> tuple[float, str, int, str] | None:
    for file in files:
        section = file.document.artifact
        if section is None:
            continue
        meeting = [pattern for pattern in section.forms if form and fnmatch.fnmatchcase(form, pattern)]
        for pattern in sorted(meeting, key=lambda pattern: specificity(pattern, form), reverse=True):
            if (value := getattr(section.forms[pattern], key)) is not None:
                place = file.line("artifact", "forms", pattern, key)
                return float(value), str(file.path), place, section.source or ""
        if (value := getattr(section, key)) is not None:
            return float(value), str(file.path), file.line("artifact", key), section.source or ""
    return None
