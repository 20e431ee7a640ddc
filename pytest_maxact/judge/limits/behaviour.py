"""Limits of what a model does: it predicts, and every layer does something. From the `generic:` section of the first
file that says anything of them, else as they are shipped; of predictions first from the checkpoint's family, where one
states its own.

Guard: a family may ask for another margin, and cannot do without any; a bound that asks for nothing is remarked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_maxact.judge.limits.file import LimitsFile, builtin_path
from pytest_maxact.judge.limits.limit import PREDICTIONS, Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.schema.sections import Generic
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.metrics.metric import CHANGED, MARGIN, NONFINITE

_MARGIN = "min_margin"


def with_behaviour(
    rules: Ruleset, files: Sequence[LimitsFile], sites: Sequence[Site], *, predicted: bool, probed: bool
) -> Ruleset:
    """The same with checks of what the model does, where that is measured: `predicted`, of its own predictions, and
    `probed`, of what each layer changes.
    """
    own = _limit(_generic(files, "nonfinite"), PREDICTIONS)
    margin, changed = _margin(files, rules.family), _generic(files, "min_changed")
    found = [replace(own, metric=NONFINITE, bound=0.0, sense="max")] if predicted else []
    if predicted and margin.bound is not None:
        found.append(_limit(margin, PREDICTIONS))
    if probed and changed.bound is not None:
        layers = [site.name for site in sites if site.kind == "hidden"]
        found += [replace(_limit(changed, name), metric=CHANGED) for name in layers]
    off = [
        *(_off(margin, "the model predicts text") if predicted else ()),
        *(_off(changed, "every layer does something") if probed else ()),
    ]
    return replace(rules, limits=(*rules.limits, *found), remarks=(*rules.remarks, *off))


def _off(stated: "_Stated", what: str) -> Iterator[str]:
    """What is said of a bound that asks for nothing, in place of the check that it switches off."""
    if stated.file is None or (stated.bound is not None and stated.bound > 0):
        return
    is_said = "null" if stated.bound is None else f"{stated.bound:g}, which any model meets"
    key = ".".join(stated.place)
    yield f"nothing checks that {what}: {key} is {is_said} ({stated.file.where(*stated.place)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """What is asked for, None for nothing, and where that is said: at `place` of a file, None where it is left to the
    program.
    """

    bound: float | None
    place: tuple[str, ...]
    file: LimitsFile | None = None
    rule: str = "every family"
    source: str = ""


def _margin(files: Sequence[LimitsFile], family: str) -> _Stated:
    """Of the first file that says anything of it, the family's before that of all."""
    for file in files:
        own = file.document.families.get(family)
        if own is not None and own.min_margin is not None:
            return _Stated(
                bound=own.min_margin, place=("families", family, _MARGIN), file=file, rule=f"family {family}",
                source=own.source or file.document.source or "",
            )  # fmt: skip
        if _says(file, _MARGIN):
            break
    return _generic(files, _MARGIN)


def _generic(files: Sequence[LimitsFile], key: str) -> _Stated:
    """What the first file says that says anything of a key under `generic:`, else what it is without one."""
    for file in files:
        if _says(file, key):
            return _Stated(bound=getattr(file.document.generic, key), place=("generic", key), file=file)
    return _Stated(bound=Generic.model_fields[key].default, place=("generic", key))


def _says(file: LimitsFile, key: str) -> bool:
    return file.document.generic is not None and key in file.document.generic.model_fields_set


def _limit(stated: _Stated, site: str) -> Limit:
    return Limit(
        site=site,
        metric=MARGIN,
        bound=float(stated.bound or 0.0),
        sense="min",
        rule=stated.rule,
        source=stated.source,
        file=str(stated.file.path if stated.file else builtin_path()),
        line=stated.file.line(*stated.place) if stated.file else 1,
    )
