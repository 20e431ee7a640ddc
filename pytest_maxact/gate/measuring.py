"""One checkpoint of a run measured, or had from the cache where its content was measured before.

What needs torch is imported when a checkpoint is measured: a run that judges Records starts without it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_maxact.gate.sources import Source
from pytest_maxact.judge.limits.limit import Limit, bound_sites
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.measure.progress import READING, Progress, begin
from pytest_maxact.measure.resume.resumption import Resumption
from pytest_maxact.measure.store import Store
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_maxact.measure.prepared import Prepared
    from pytest_maxact.measure.ranks.team import Team
    from pytest_maxact.report.terminal.progress import Display

Showing = Callable[[], "Display | None"]
"""Begins to show the progress of a measurement; None where nothing is to be shown."""


def nothing_shown() -> "Display | None":
    return None


def measure_source(
    source: Source, run: Settings, rules: Ruleset | None, prepared: "Prepared | None", store: Store | None,
    showing: Showing, team: "Team | None" = None, resumption: Resumption | None = None,
) -> Record:  # fmt: skip
    """The Record of a checkpoint; `rules` are None for a baseline, `prepared` where another process prepared it, `team`
    the ranks that share the pass, `resumption` says where it goes on if it was killed. Raises MaxactError.
    """
    from pytest_maxact.measure.prepare import prepare

    settings = source.settings(run)
    prepared = prepared or prepare(settings)
    if rules and settings.until_saturated:
        prepared = replace(prepared, watched=bound_sites(rules.limits, prepared.sites))
    family, fitness = (rules.family, rules.fitness) if rules else (None, ())
    progress = showing()
    try:
        if store is None:
            return _measured(prepared, settings, family, fitness, progress, team, resumption)
        return _kept(store, prepared, settings, family, fitness, progress, team, resumption)
    finally:
        if progress:
            progress.close()


def _measured(
    prepared: "Prepared", settings: Settings, family: str | None, fitness: tuple[Limit, ...],
    progress: Progress | None, team: "Team | None", resumption: Resumption | None, digest: str | None = None,
) -> Record:  # fmt: skip
    from pytest_maxact.judge.deploy.fitness import bounds_on_effects, failing_sites
    from pytest_maxact.measure.run import measure

    return measure(
        prepared, settings, family, progress, lambda record: failing_sites(record, fitness),
        lambda record: bounds_on_effects(record, fitness), digest, team, resumption,
    )  # fmt: skip


def _kept(
    store: Store, prepared: "Prepared", settings: Settings, family: str | None, fitness: tuple[Limit, ...],
    progress: Progress | None, team: "Team | None", resumption: Resumption | None,
) -> Record:  # fmt: skip
    """From the cache, under this checkpoint's name: the same content may have been measured under another path."""
    from pytest_maxact.checkpoint.digest import weights_digest
    from pytest_maxact.checkpoint.locate import require_unchanged, with_seal, with_weights
    from pytest_maxact.measure.passed import with_files
    from pytest_maxact.measure.provenance import content_of

    files = with_weights(prepared.checkpoint, settings)
    prepared = replace(prepared, checkpoint=with_seal(prepared.checkpoint, files))
    begin(progress, READING)
    digest = weights_digest(files)
    bounds = [(limit.check, limit.bound) for limit in fitness]
    record = store.obtain(
        {**content_of(prepared, settings, digest, bounds), "beside": list(files.beside)},
        lambda: _measured(prepared, settings, family, fitness, progress, team, resumption, digest),
    )
    require_unchanged(prepared.checkpoint)
    name, revision = prepared.checkpoint.name, prepared.checkpoint.revision
    provenance = replace(record.provenance, model=name, revision=revision, family=family)
    return with_files(replace(record, provenance=provenance), files)
