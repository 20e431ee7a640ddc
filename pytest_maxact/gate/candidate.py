"""One checkpoint of a run, under test or a baseline: opened once before any weights load."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_maxact.checkpoint.libraries import TORCH, needed
from pytest_maxact.gate.sources import Source
from pytest_maxact.numbers.arithmetic import ACCUMULATED
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.comparability import Footing, footing_of
from pytest_maxact.record.file import load
from pytest_maxact.record.identity import Identity, identity_of
from pytest_maxact.record.provenance import Context
from pytest_maxact.record.record import Record
from pytest_maxact.record.source import Compared
from pytest_maxact.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_maxact.measure.prepared import Prepared
    from pytest_maxact.measure.ranks.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is known of a checkpoint before it is measured. `footing`: as it will be, as far as that is known."""

    source: Source
    title: str
    identity: Identity
    sites: tuple[Site, ...]
    schemes: tuple[str, ...]
    effects: tuple[str, ...]
    predicts: bool
    predicted: bool
    """Whether its own predictions are told, or were to be."""
    probed: bool
    """Whether it is told what each of its layers does."""
    stressed: bool
    """Whether inputs that no corpus has are tried."""
    hunted: bool
    """Whether worse inputs are searched for."""
    protocol: str
    tokens: int
    samples: int
    footing: Footing
    context: Context | None = None
    unpredicted: str = ""
    """Why its own predictions are not told, of one that is still to be measured."""
    compared: Compared | None = None
    """What is compared with the source that it was made from; None for nothing."""
    remarks: tuple[str, ...] = ()
    """What was found of its files that heads a verdict, likewise."""
    placed: str = ""
    """Where it will live and why; empty of a Record."""
    prepared: "Prepared | None" = None
    record: Record | None = None


def open_source(source: Source, run: Settings, like: "Prepared | None" = None, team: "Team | None" = None) -> Candidate:
    """Resolve a checkpoint, or load a Record. `like`: a checkpoint of the same run, prepared before. `team`: ranks that
    will share its pass, and prepare it meanwhile. Raises InputError.
    """
    if source.is_record:
        return _of_record(source, load(source.path))
    with needed(*TORCH):
        from pytest_maxact.measure.context import context_of
        from pytest_maxact.measure.prepare import prepare
        from pytest_maxact.measure.provenance import expected_footing
        from pytest_maxact.measure.source.origin import foreseen

    settings = source.settings(run)
    if team:
        team.announce(settings)
    prepared = prepare(settings, like)
    identity, footing = prepared.identity, expected_footing(prepared, settings)
    how = f", {ACCUMULATED}" if (footing.arithmetic or "").startswith(ACCUMULATED) else ""
    return Candidate(
        source=source,
        title=f"{prepared.checkpoint.name} ({identity.model_type}, {identity.shape}{how})",
        identity=identity,
        sites=tuple(prepared.sites),
        schemes=tuple(scheme.name for scheme in prepared.schemes),
        effects=settings.effects_measured,
        predicts=prepared.predicts,
        predicted=not prepared.unpredicted,
        unpredicted=prepared.unpredicted,
        compared=foreseen(prepared, settings),
        remarks=prepared.remarks,
        probed=True,
        stressed=settings.stress,
        hunted=bool(settings.hunt),
        protocol=settings.protocol,
        tokens=sum(len(sequence.ids) for sequence in prepared.sequences),
        samples=len(prepared.sequences),
        footing=footing,
        context=context_of(prepared.sequences, prepared.checkpoint.config.get_text_config()),
        placed=prepared.placement.line if prepared.placement else "",
        prepared=prepared,
    )


def _of_record(source: Source, record: Record) -> Candidate:
    provenance = record.provenance
    return Candidate(
        source=source,
        title=f"{provenance.model} (Record {source.path})",
        identity=identity_of(provenance, record.is_linted, record.static is not None),
        sites=tuple(reading.site for reading in record.sites.values()),
        schemes=provenance.schemes,
        effects=tuple(record.effects),
        predicts=provenance.predicts,
        predicted=record.is_predicted,
        compared=record.source.compared if record.source else None,
        probed=record.is_probed,
        stressed=record.is_stressed,
        hunted=record.is_hunted,
        protocol=provenance.protocol,
        tokens=provenance.tokens,
        samples=len(provenance.samples),
        footing=footing_of(provenance),
        context=provenance.context,
        record=record,
    )
