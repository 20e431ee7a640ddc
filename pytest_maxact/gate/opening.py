"""From settings to what a run is about, before any weights load: its checkpoints and baselines, whether they may be
compared, and the limits of each.

Everything that can be wrong with a request is found here, as an InputError.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.errors import InputError, setting
from pytest_maxact.gate.candidate import Candidate
from pytest_maxact.gate.comparable import require_comparable, require_distributions, require_sound, require_source
from pytest_maxact.gate.errand import open_source
from pytest_maxact.gate.outputs import require_outputs
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.sources import baselines_of, origin_of, sources_of
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.attention import with_attention
from pytest_maxact.judge.limits.behaviour import with_behaviour
from pytest_maxact.judge.limits.file import LimitsFile, builtin_path, load_limits
from pytest_maxact.judge.limits.limit import CARRIER
from pytest_maxact.judge.limits.regression import ACTIVATIONS, REGRESSION
from pytest_maxact.judge.limits.rules import (
    GENERIC,
    Ruleset,
    family_speaking_of,
    require_protocol,
    select_rules,
    with_baseline,
    with_fitness,
)
from pytest_maxact.judge.limits.source import with_source
from pytest_maxact.judge.limits.waivers import about, refuse_unmatched
from pytest_maxact.judge.remarks import remarks_before, remarks_on
from pytest_maxact.judge.strength import strength_of
from pytest_maxact.judge.verdict.stress import require_bounded, searched_in, with_trials
from pytest_maxact.judge.verdict.weights import with_tensors
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_maxact.measure.ranks.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a run is about, and what was prepared or loaded to find out."""

    plan: Plan
    opened: tuple[Candidate, ...]


def open_run(
    settings: Settings, protocol_given: bool = False, team: "Team | None" = None, records: Sequence[str] = ()
) -> Opening:
    """Resolve sites and limits of every checkpoint; no weights are loaded. `protocol_given`: the protocol was asked
    for, and is no default. `records`: of a series of Records, its files, where they are named one by one.

    Raises InputError for a request that is wrong.
    """
    if settings.shard:
        raise InputError(
            f"{setting('shard')} {settings.shard}: a part of a measurement is measured, not judged\n"
            f"  maxact measure MODEL --shard {settings.shard} -o PART for every part, maxact merge PARTS -o WHOLE,\n"
            f"  then judge the whole: {setting('replay')} WHOLE"
        )
    files = _limits(settings)
    sources = sources_of(settings, records)
    _refuse_ending_early(settings, len(sources))
    taken = {source.name for source in sources}
    baseline_sources = baselines_of(settings, taken)
    origin = origin_of(settings, taken)
    baseline_sources += (origin,) if origin else ()
    require_outputs(settings, sources, baseline_sources)
    opened: list[Candidate] = []
    for source in (*sources, *baseline_sources):
        like = next((one.prepared for one in opened if one.prepared), None)
        opened.append(open_source(source, settings, like, team))
    series, baselines = opened[: len(sources)], opened[len(sources) :]
    asked = {
        one.source.name: f"{setting('source' if one.source is origin else 'baseline')} {one.source.path}"
        for one in baselines
    }
    for baseline in baselines:
        require_sound(baseline, asked[baseline.source.name])
    subjects = []
    for index, one in enumerate(series):
        _require_replayable(one, settings, protocol_given)
        for baseline in baselines:
            require_comparable(one, baseline, asked[baseline.source.name], is_source=baseline.source is origin)
            if baseline.source is origin:
                require_source(one, baseline, asked[baseline.source.name])
        earlier = [series[place] for place in dict.fromkeys((0, index - 1))] if index else []
        for other in earlier:
            require_comparable(one, other, other.source.name)
        subjects.append(_subject(one, files, [*baselines, *earlier], settings, origin.name if origin else ""))
    plan = Plan(subjects=_with_own_waivers(subjects), baselines=baseline_sources)
    return Opening(plan=plan, opened=tuple(opened))


def _refuse_ending_early(settings: Settings, checkpoints: int) -> None:
    """Raise InputError where how much text is run has to be known beforehand."""
    if settings.until_saturated is None:
        return
    if checkpoints > 1:
        raise InputError(
            f"{setting('until_saturated')}: each checkpoint of a series would end elsewhere, and Records of different "
            f"text are not compared\n  leave it out, and choose the text by {setting('max_tokens')}"
        )
    if settings.strict:
        raise InputError(
            f"{setting('strict')} refuses too little text, and how much is run under {setting('until_saturated')} is "
            f"not known beforehand\n  keep the Record by {setting('save')} FILE, then judge it by {setting('replay')} "
            f"FILE {setting('strict')}"
        )


def _limits(settings: Settings) -> list[LimitsFile]:
    """The limits files that apply. Where limits are to be written, by a person, the file need not be there yet."""
    path = Path(settings.limits) if settings.limits else None
    if settings.update:
        from pytest_maxact.settings.surroundings import refuse_in_ci

        refuse_in_ci(f"{setting('update')}")
        if path is None:
            raise InputError(
                f"{setting('update')} writes to a limits file of yours\n"
                f"  name it with {setting('limits')}=FILE, which need not exist yet"
            )
        if path.resolve() == builtin_path().resolve():
            raise InputError(
                f"{path} holds the shipped limits, which stay as they were published\n"
                f"  give a file of your own with {setting('limits')}"
            )
        if not path.exists():
            path = None
    return load_limits(path)


def _subject(
    one: Candidate, files: list[LimitsFile], against: Sequence[Candidate], settings: Settings, origin: str
) -> Subject:
    """`origin`: the name of the source among those it is compared with."""
    family = settings.family
    if settings.update and family is None and family_speaking_of(files, one.identity.model_type) is None:
        family = GENERIC  # its limits are yet to be written
    rules = select_rules(files, one.identity, one.sites, family)
    rules = with_fitness(
        rules,
        files,
        one.sites,
        checked=settings.deploy,
        reported=one.schemes,
        predicts=one.predicts,
        effects=one.effects,
    )
    rules = with_behaviour(rules, files, one.sites, predicted=one.predicted, probed=one.probed)
    rules = with_source(rules, files, one.compared, asked=bool(origin))
    if one.record is None and CARRIER not in settings.hunt:
        require_bounded(rules, [site for site in one.sites if site.name in settings.hunt])
    rules = with_trials(rules, one.stressed, one.hunted, searched_in(one.record))
    rules = with_attention(rules, files, one.sites)
    require_protocol(one.protocol, rules)
    if settings.strict:
        _require_plain(one, rules)
    for other in against:
        rules = with_baseline(
            rules,
            files,
            one.sites,
            one.schemes,
            other.source.name,
            probed=one.probed and other.probed,
            slim=any(each.record is not None and each.record.is_summary for each in (one, other)),
            section=ACTIVATIONS if other.source.name == origin else REGRESSION,
        )
        require_distributions(one, other, rules)
    if one.record:
        rules = replace(rules, limits=with_tensors(one.record, rules.limits))
    return Subject(
        source=one.source,
        title=one.title,
        rules=rules,
        against=tuple(other.source.name for other in against),
        placed=one.placed,
    )


def _require_plain(one: Candidate, rules: Ruleset) -> None:
    """Raise InputError where a verdict would be headed by a warning: of too little text, of one that does not fit
    its model, of weights that nobody looked at, of checks that are not made.
    """
    shortage = strength_of(rules, one.tokens, one.samples).shortage
    told = (
        remarks_on(one.record)
        if one.record
        else remarks_before(
            one.predicts, one.unpredicted, one.remarks, one.context, one.samples, one.footing.max_seq_len
        )
    )
    if said := [*filter(None, [shortage]), *rules.remarks, *told]:
        helps = "measure on more text" if said == [shortage] else "put it right"
        raise InputError(
            f"{one.title}: {'; '.join(said)}\n  {helps}, or leave out {setting('strict')} for a warning in its place"
        )


def _with_own_waivers(subjects: Iterable[Subject]) -> tuple[Subject, ...]:
    """The same with the waivers that speak about a checkpoint of this run. Raises InputError for one that matches no
    check of it.
    """
    given = list(subjects)
    labels = [subject.label for subject in given]
    kept = [replace(one, rules=replace(one.rules, waivers=about(one.rules.waivers, labels))) for one in given]
    refuse_unmatched(
        dict.fromkeys(waiver for subject in kept for waiver in subject.rules.waivers),
        [(subject.label, limit) for subject in kept for limit in subject.rules.limits],
    )
    return tuple(kept)


def _require_replayable(one: Candidate, settings: Settings, protocol_given: bool) -> None:
    """A Record is judged for what it was measured under; sites or effects that it lacks would be checks that nobody
    runs.
    """
    if not one.record:
        return
    if protocol_given and one.protocol != settings.protocol:
        raise InputError(
            f"{one.source.path} was measured under protocol {one.protocol!r}, not {settings.protocol!r}\n"
            f"  leave out {setting('protocol')}, or measure again under it"
        )
    linear = any(site.is_linear_input for site in one.sites)
    for name in settings.deploy:
        scheme = SCHEMES[name]
        measured = all(part in one.schemes for part in scheme.parts)
        told = one.record.predictions
        compared = name in one.effects or not one.predicts or (told is not None and told.nonfinite > 0)
        if (scheme.is_of_linears and not linear) or not measured or not compared:
            what = "holds nothing of its effect on predictions" if measured else "was not measured under it"
            raise InputError(
                f"{setting('deploy')} {name}: the Record {one.source.path} {what}\n"
                f"  measure again with {setting('effect')} {','.join(settings.deploy)}"
            )
