"""Limits that hold for every family, of what a model does: it predicts, and every layer does something. From the
`generic:` section of the first file that says anything of them, else as they are shipped.
"""

from collections.abc import Sequence
from dataclasses import replace

from pytest_maxact.judge.limits.file import LimitsFile, builtin_path
from pytest_maxact.judge.limits.limit import PREDICTIONS, Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.schema.sections import Generic
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.metrics.metric import CHANGED, MARGIN, NONFINITE


def with_behaviour(
    rules: Ruleset, files: Sequence[LimitsFile], sites: Sequence[Site], *, predicted: bool, probed: bool
) -> Ruleset:
    """The same with checks of what the model does, where that is measured: `predicted`, of its own predictions, and
    `probed`, of what each layer changes.
    """
    margin, changed = _stated(files, "min_margin"), _stated(files, "min_changed")
    own = _limit(_stated(files, "nonfinite"), PREDICTIONS)
    found = [replace(own, metric=NONFINITE, bound=0.0, sense="max")] if predicted else []
    if predicted and margin[1] is not None:
        found.append(_limit(margin, PREDICTIONS))
    if probed and changed[1] is not None:
        layers = [site.name for site in sites if site.kind == "hidden"]
        found += [replace(_limit(changed, name), metric=CHANGED) for name in layers]
    return replace(rules, limits=(*rules.limits, *found))


def _stated(files: Sequence[LimitsFile], key: str) -> tuple[LimitsFile | None, float | None, str]:
    """The file that states a key, None where that is left to the program, what it states, and the key."""
    for file in files:
        generic = file.document.generic
        if generic is not None and key in generic.model_fields_set:
            return file, getattr(generic, key), key
    return None, Generic.model_fields[key].default, key


def _limit(stated: tuple[LimitsFile | None, float | None, str], site: str) -> Limit:
    file, bound, key = stated
    return Limit(
        site=site,
        metric=MARGIN,
        bound=float(bound or 0.0),
        sense="min",
        rule="every family",
        source="",
        file=str(file.path if file else builtin_path()),
        line=file.line("generic", key) if file else 1,
    )
