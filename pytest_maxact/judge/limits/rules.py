"""From limits files to the limits of one checkpoint: which family and shape speak about it, and the most specific
figure for every site.

Order, first match wins: the user's file before the shipped one it extends; within a file layer pattern, the shape's
figure of the layer, the shape's of its kind, family limits, family envelope.
"""

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from pytest_maxact.errors import InputError, setting
from pytest_maxact.judge.limits.deploy import fitness_limits, stated_limits
from pytest_maxact.judge.limits.family import FamilySource
from pytest_maxact.judge.limits.file import LimitsFile, builtin_path
from pytest_maxact.judge.limits.keys import METRICS
from pytest_maxact.judge.limits.layers import LOWER
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.regression import REGRESSION, Place, relative_limits
from pytest_maxact.judge.limits.schema.family import MeasuredOn
from pytest_maxact.judge.limits.schema.sections import FoundOn
from pytest_maxact.judge.limits.waivers import Waiver, waivers_of
from pytest_maxact.judge.limits.weights import weight_limits
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.identity import Identity
from pytest_maxact.record.metrics.metric import MAX_ABS, NONFINITE, UNREACHED

GENERIC = "generic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """The limits of one checkpoint, in depth order. `shape` is the published shape they come from, None for an envelope
    or no shape, and `measured` what its figures were measured on, None where the file does not say; `text`: what the
    figures of the file as a whole were found on.

    `fitness`: those for deployment schemes, which are reported; the ones that are checks stand among `limits` too.
    `waivers`: what may fail for now. `remarks`: shipped checks that a file switches off.
    """

    family: str
    shape: str | None
    protocol: str | None
    limits: tuple[Limit, ...]
    fitness: tuple[Limit, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    measured: MeasuredOn | None = None
    text: FoundOn | None = None
    remarks: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """Those that set a limit, first the one that wins: the user's own before the shipped one."""
        shipped = str(builtin_path())
        return sorted({limit.file for limit in self.limits}, key=lambda file: (file == shipped, file))


def select_rules(
    files: Sequence[LimitsFile], identity: Identity, sites: Iterable[Site], family: str | None = None
) -> Ruleset:
    """The limits that `files` set for a checkpoint with these sites; `family` overrides the one its model_type stands
    in.

    Raises InputError for an unknown family, a family without a limit for this shape, and a limit that matches no site.
    """
    ordered = sorted(sites, key=lambda site: site.order)
    name = _family_of(files, identity, family)
    nonfinite = [
        *(_nonfinite(files, site) for site in ordered),
        *weight_limits(files, identity.quantized, identity.static),
    ]
    if name == GENERIC:
        ranges = [_fp16_range(files, site) for site in ordered]
        return _ruleset(files, GENERIC, None, None, [*nonfinite, *ranges, *_unreached(files, ordered)], ordered)
    sources = [FamilySource(file, name, identity) for file in files if name in file.document.families]
    for source in sources:
        source.refuse_unmatched(ordered)
    stated = [
        limit
        for site in ordered
        for metric in METRICS
        if (limit := next(filter(None, (source.limit(site, metric) for source in sources)), None))
    ]
    stated = _uncrossed(stated)
    bounded = {limit.site for limit in stated if limit.metric == MAX_ABS}
    if not bounded & {site.name for site in ordered if site.counted}:
        raise InputError(
            f"family {name!r} has no limits for a model of {identity.shape}, nor an envelope\n"
            f"  add a shape, `limits:` or `envelope:` to families.{name} in {sources[0].file.path}, or let a run write "
            f"them ({setting('limits')}=FILE {setting('update')}=new), or judge with {setting('family')} generic"
        )
    if not any(limit.metric == UNREACHED for limit in stated):
        stated += _unreached(files, ordered)
    int8: list[Limit] = next(filter(None, (source.int8(ordered) for source in sources)), [])
    shape = next((source.shape for source in sources if source.shape), None)
    rules = _ruleset(
        files,
        name,
        shape.name if shape else None,
        files[0].document.protocol,
        [*nonfinite, *stated, *int8],
        ordered,
    )
    return replace(rules, measured=shape.measured if shape else None)


def _uncrossed(stated: Sequence[Limit]) -> list[Limit]:
    """Without lower limits that lie at or above the site's upper one in another file: who holds a site to less than was
    published for it has said that those figures do not speak for it.
    """
    upper = {limit.site: limit for limit in stated if limit.metric == MAX_ABS}

    def crossed(limit: Limit) -> bool:
        above = upper.get(limit.site)
        return above is not None and above.file != limit.file and limit.bound >= above.bound

    return [limit for limit in stated if limit.metric not in LOWER or not crossed(limit)]


def with_fitness(
    rules: Ruleset,
    files: Sequence[LimitsFile],
    sites: Iterable[Site],
    *,
    checked: Sequence[str],
    reported: Sequence[str],
    predicts: bool,
    effects: Collection[str] = (),
) -> Ruleset:
    """The same with limits of fitness for schemes: those `checked` become checks, those `reported` are shown, where a
    file says anything of them.

    `predicts`: whether the model has a next-token distribution; `effects`: the reported schemes whose effect on it is
    measured.
    """
    ordered = sorted(sites, key=lambda site: site.order)
    checks = fitness_limits(files, checked, ordered, predicts)
    shown = [
        limit
        for name in reported
        if name not in checked
        for limit in stated_limits(files, name, ordered, name in effects)
    ]
    return replace(rules, limits=(*rules.limits, *checks), fitness=(*checks, *shown))


def with_baseline(
    rules: Ruleset,
    files: Sequence[LimitsFile],
    sites: Iterable[Site],
    schemes: Sequence[str],
    against: str,
    *,
    probed: bool = True,
    slim: bool = False,
    section: Place = REGRESSION,
) -> Ruleset:
    """The same with checks against a baseline of that name; all else as of `relative_limits`."""
    ordered = sorted(sites, key=lambda site: site.order)
    found = relative_limits(files, ordered, schemes, against, probed=probed, slim=slim, section=section)
    return replace(rules, limits=_by_depth([*rules.limits, *found], ordered))


def _ruleset(
    files: Sequence[LimitsFile],
    family: str,
    shape: str | None,
    protocol: str | None,
    limits: list[Limit],
    ordered: list[Site],
) -> Ruleset:
    return Ruleset(
        family=family,
        shape=shape,
        protocol=protocol,
        limits=_by_depth(limits, ordered),
        waivers=waivers_of(files, family),
        text=next((file.document.text for file in files if file.document.text), None),
    )


def _by_depth(limits: Iterable[Limit], ordered: Sequence[Site]) -> tuple[Limit, ...]:
    depth = {site.name: rank for rank, site in enumerate(ordered)}
    return tuple(
        sorted(limits, key=lambda limit: (depth.get(limit.site, len(depth)), bool(limit.against), limit.metric.name))
    )


def _family_of(files: Sequence[LimitsFile], identity: Identity, wanted: str | None) -> str:
    names = list(dict.fromkeys(name for file in files for name in file.document.families))
    if wanted is not None:
        if wanted == GENERIC or wanted in names:
            return wanted
        close = difflib.get_close_matches(wanted, [*names, GENERIC], n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(
            f"{setting('family')} {wanted}: no such family in {files[0].path}\n"
            f"  {hint}there are {', '.join([*names, GENERIC])}"
        )
    if found := family_speaking_of(files, identity.model_type):
        return found
    raise InputError(
        f"no limits for model_type {identity.model_type!r} ({identity.shape}) in {files[0].path}\n"
        f"  add `families: {{{identity.model_type}: {{model_types: [{identity.model_type}], limits: {{hidden: "
        "...}}}` to a file that begins with `version: 1`, `extends: builtin`, and give it with "
        f"{setting('limits')};\n"
        f"  or let a run write them ({setting('limits')}=FILE {setting('update')}=new), or use "
        f"{setting('family')} generic: nothing non-finite, every site seen, FP16 range"
    )


def family_speaking_of(files: Sequence[LimitsFile], model_type: str) -> str | None:
    """The family that lists a model_type, None for none."""
    listed = (
        name for file in files for name, family in file.document.families.items() if model_type in family.model_types
    )
    return next(listed, None)


def _nonfinite(files: Sequence[LimitsFile], site: Site) -> Limit:
    file, _ = _generic(files)
    return Limit(
        site=site.name,
        metric=NONFINITE,
        bound=0.0,
        sense="max",
        rule="every family",
        source="a NaN or infinity is a broken checkpoint",
        file=str(file.path),
        line=file.line("generic", "nonfinite"),
    )


def _fp16_range(files: Sequence[LimitsFile], site: Site) -> Limit:
    file, source = _generic(files)
    generic = file.document.generic
    return Limit(
        site=site.name,
        metric=MAX_ABS,
        bound=generic.max_abs if generic else 65504.0,
        sense="max",
        rule="generic: FP16 range",
        source=source,
        file=str(file.path),
        line=file.line("generic", "max_abs"),
    )


def _unreached(files: Sequence[LimitsFile], sites: Sequence[Site]) -> list[Limit]:
    """The generic limits on the share of experts that no token reached, for a family that states none."""
    file, _ = _generic(files)
    generic = file.document.generic
    if generic is None or generic.max_unreached_experts is None:
        return []
    return [
        Limit(
            site=site.name,
            metric=UNREACHED,
            bound=generic.max_unreached_experts,
            sense="max",
            rule="every family",
            source="",
            file=str(file.path),
            line=file.line("generic", "max_unreached_experts"),
        )
        for site in sites
        if site.kind == "router"
    ]


def _generic(files: Sequence[LimitsFile]) -> tuple[LimitsFile, str]:
    file = next((file for file in files if file.document.generic), files[0])
    generic = file.document.generic
    return file, (generic.source if generic and generic.source else "IEEE 754 binary16")


def require_protocol(record_protocol: str, rules: Ruleset) -> None:
    """Raise InputError where limits stated for one protocol would judge a measurement under another."""
    if rules.family != GENERIC and rules.protocol != record_protocol:
        raise InputError(
            f"the limits of family {rules.family!r} hold for protocol {rules.protocol!r}, the measurement is of "
            f"protocol {record_protocol!r}\n"
            f"  measure under protocol {rules.protocol}, give a limits file that says `protocol: {record_protocol}` "
            "beside `version: 1`,\n"
            "  or judge by family generic"
        )
