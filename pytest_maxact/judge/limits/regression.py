"""Relative limits, from the `regression:` section, and of an artifact from `artifact: activations:`: how far a
checkpoint may be from a baseline, at every site and in the residual stream as a whole.

Of several statements the most specific wins: the user's file before the shipped one; within a file a pattern of sites
(an exact name first) before what holds for all. A bound and its floor are looked up on their own, so a file may change
one of them.
"""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import LimitsFile, builtin_path
from pytest_maxact.judge.limits.limit import MODEL, Limit, specificity
from pytest_maxact.judge.limits.schema.sections import Regression
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.metrics.metric import (
    GROWTH,
    INT8_SQNR,
    JUMP,
    MASSIVE,
    SHIFT,
    SHRINK,
    TURN,
    WEIGHT_SQNR,
    Metric,
    drop_of,
    scheme_metric,
)

Place = tuple[str, ...]
REGRESSION: Place = ("regression",)
ACTIVATIONS: Place = ("artifact", "activations")
"""The sections that state such limits: on a baseline, and on an artifact's source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """The files that are asked, and the section of each."""

    files: Sequence[LimitsFile]
    section: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    value: float
    file: LimitsFile
    place: Place
    section: Place
    source: str


def _section(file: LimitsFile, place: Place) -> Regression | None:
    document = file.document
    if place == REGRESSION:
        return document.regression
    return document.artifact.activations if document.artifact else None


def relative_limits(
    files: Sequence[LimitsFile],
    sites: Sequence[Site],
    schemes: Sequence[str],
    against: str,
    *,
    probed: bool = True,
    slim: bool = False,
    section: Place = REGRESSION,
) -> list[Limit]:
    """The limits on what may have changed since the baseline `against`, in depth order; `schemes` are those that both
    were measured under. `probed`: whether both hold which way the outputs of blocks point; `slim`: whether either keeps
    no distributions, which the shipped file then does not compare. `section`: the one that states them.

    Raises InputError where no file states any, and for a pattern that matches no site: either would be a comparison
    that nobody makes.
    """
    for file in files:
        stated = _section(file, section)
        for pattern in stated.sites if stated else ():
            if not any(fnmatch.fnmatchcase(site.name, pattern) for site in sites):
                raise InputError(
                    f"{file.where(*section, 'sites', pattern)}: pattern {pattern!r} matches no site of this model, "
                    "so it would never be checked\n"
                    "  correct or remove it"
                )
    told = _Told(files=files, section=section)
    found = [limit for site in sites for limit in _of_site(told, site, schemes, against, probed, slim)]
    found += [limit for key, metric, floor in _WHOLE for limit in _of_model(told, key, metric, floor, against)]
    if not found:
        raise InputError(
            f"{files[0].path} sets no relative limit, so nothing would be compared with {against}\n"
            f"  add `{': {'.join(section)}: {{max_growth: 1.5, growth_floor: 0.5{'}' * len(section)}`, or "
            "`extends: builtin` for the shipped ones"
        )
    return found


BLOCKS = frozenset({"attn_output", "mlp_output"})
"""Kinds of sites whose outputs point somewhere: those of blocks, whatever the residual stream has of all layers."""
_WHOLE = (("max_new_massive_layers", MASSIVE, "massive_floor"), ("max_jump_shift", JUMP, "jump_floor"))


def _of_site(
    told: _Told, site: Site, schemes: Sequence[str], against: str, probed: bool, slim: bool
) -> Iterator[Limit]:
    for key, metric in (("max_growth", GROWTH), ("max_shrink", SHRINK)):
        if bound := _stated(told, key, site):
            yield _limit(site.name, metric, bound, _stated(told, "growth_floor", site), against)
    if bound := _stated(told, "max_shift", site, shipped=not slim):
        yield _limit(site.name, SHIFT, bound, None, against)
    if probed and site.kind in BLOCKS and (bound := _stated(told, "max_turn", site)):
        yield _limit(site.name, TURN, bound, None, against)
    if bound := _stated(told, "max_sqnr_drop_db", site):
        measured = [name for name in schemes if site.is_linear_input]
        metrics = [INT8_SQNR]
        metrics += [scheme_metric(name, "sqnr_db") for name in measured if SCHEMES[name].activations]
        metrics += [scheme_metric(name, WEIGHT_SQNR) for name in measured if SCHEMES[name].weights]
        for metric in metrics:
            yield _limit(site.name, drop_of(metric), bound, _stated(told, "sqnr_floor_db", site), against)


def _of_model(told: _Told, key: str, metric: Metric, floor: str, against: str) -> Iterator[Limit]:
    if bound := _stated(told, key):
        yield _limit(MODEL, metric, bound, _stated(told, floor), against)


def _stated(told: _Told, key: str, site: Site | None = None, shipped: bool = True) -> _Stated | None:
    """What is stated most specifically under `key`, for a site or for all; `shipped`: by the shipped file, too."""
    for file in told.files if shipped else [file for file in told.files if file.path != builtin_path()]:
        section = _section(file, told.section)
        if section is None:
            continue
        patterns = [pattern for pattern in section.sites if site and fnmatch.fnmatchcase(site.name, pattern)]
        for pattern in sorted(
            patterns, key=lambda pattern: specificity(pattern, site.name if site else ""), reverse=True
        ):
            if (value := getattr(section.sites[pattern], key)) is not None:
                return _found(told, file, section, float(value), "sites", pattern, key)
        if (value := getattr(section, key)) is not None:
            return _found(told, file, section, float(value), key)
    return None


def _found(told: _Told, file: LimitsFile, section: Regression, value: float, *place: str) -> _Stated:
    return _Stated(
        value=value, file=file, place=(*told.section, *place), section=told.section, source=section.source or ""
    )


def _limit(site: str, metric: Metric, bound: _Stated, floor: _Stated | None, against: str) -> Limit:
    rule = "regression" if bound.section == REGRESSION else "activations"
    return Limit(
        site=site,
        metric=metric,
        bound=bound.value,
        sense="max",
        rule=f"{rule} against {against}",
        source=bound.source,
        file=str(bound.file.path),
        line=bound.file.line(*bound.place),
        against=against,
        of_source=bound.section != REGRESSION,
        floor=floor.value if floor else None,
    )
