"""What is tried on a model beside its corpus, where that was asked for: its Record in, the same with what was found
out.

Guard: nothing here changes a figure of the corpus.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.errors import InputError, MeasureError, first_line, setting
from pytest_maxact.measure.arithmetic import arithmetic_of, computing
from pytest_maxact.measure.context import positions_of
from pytest_maxact.measure.hunt.hunt import hunt, names_of
from pytest_maxact.measure.hunt.sight import require_sites
from pytest_maxact.measure.passed import anatomy_of
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.progress import HUNTING, STRESSING, Progress, begin
from pytest_maxact.measure.stress import measure_stress
from pytest_maxact.numbers.sites import CARRIER
from pytest_maxact.record.record import HUNTED, STRESSED, Record
from pytest_maxact.settings.settings import Settings


def refuse_trials(settings: Settings, anatomy: Anatomy, ranks: bool) -> None:
    """Raise InputError where what is tried needs a process, or a corpus, that is not there, and for a site that cannot
    be searched at.
    """
    if settings.hunt:
        require_sites(anatomy, [name for name in settings.hunt if name != CARRIER])
    for field in ("stress", "hunt"):
        if getattr(settings, field) and (ranks or settings.shard):
            what = "one of several processes" if ranks else "a part of the corpus"
            raise InputError(
                f"{setting(field)}: what is tried is chosen by all of a corpus, by one process, and this is {what}\n"
                "  leave it out here, and try it in a run of its own"
            )
    for field in ("hunt_seconds", "hunt_out"):
        if getattr(settings, field) != getattr(Settings(), field) and not settings.hunt:
            raise InputError(
                f"{setting(field)} does nothing without {setting('hunt')} SITE\n  name one, or leave it out"
            )


def with_trials(
    record: Record, prepared: Prepared, settings: Settings, loaded: LoadedModel, progress: Progress | None
) -> Record:
    """The Record with what its model did on inputs that no corpus has; what could not be tried is told of, and takes
    nothing from the corpus.
    """
    if not (settings.stress or settings.hunt):
        return record
    anatomy = anatomy_of(prepared, settings, loaded).asked
    batch_tokens = prepared.batch_tokens or settings.batch_tokens
    with computing(settings.arithmetic, loaded.device, loaded.dtype):
        if settings.stress:
            begin(progress, STRESSING)
            with _kept(record, STRESSED) as kept:
                stress = measure_stress(
                    loaded, anatomy, prepared.tokenizer, prepared.whole,
                    context=context_tried(prepared.checkpoint.config.get_text_config(), settings),
                    batch_tokens=batch_tokens, seed=settings.seed, alone=_all_alone(record),
                )  # fmt: skip
                kept.record = replace(record, stress=stress)
            record = kept.record
        if settings.hunt:
            begin(progress, HUNTING)
            with _kept(record, HUNTED) as kept:
                found = hunt(
                    loaded, anatomy, prepared.tokenizer, prepared.whole, record.sites,
                    names_of(settings.hunt, record.carrier.site.name), seed=settings.seed, batch_tokens=batch_tokens,
                    evaluations=None, seconds=settings.hunt_seconds, weights=record.provenance.weights_sha256,
                    arithmetic=arithmetic_of(settings.arithmetic, loaded.device, loaded.dtype),
                    progress=lambda done, total: progress(HUNTING, done, total, 0.0) if progress else None,
                )  # fmt: skip
                kept.record = replace(record, hunt=found)
            record = kept.record
    return record


class _Kept:
    """A Record, and the same with what was tried once that has come to its end."""

    def __init__(self, record: Record) -> None:
        self.record = record


@contextmanager
def _kept(record: Record, what: str) -> Iterator[_Kept]:
    """Whatever breaks what is tried, in this model or this program, the Record of the corpus is not lost with it."""
    kept = _Kept(record)
    try:
        yield kept
    except InputError:
        raise
    except Exception as error:
        why = str(error) if isinstance(error, MeasureError) else f"{type(error).__name__}: {first_line(error)}"
        kept.record = replace(record, untried={**record.untried, what: why})


def context_tried(text_config: Any, settings: Settings) -> int:
    """Tokens of the longest input: those that the model has positions for, and no more than were asked for."""
    positions = positions_of(text_config) or settings.max_seq_len
    return positions if settings.max_seq_len == Settings().max_seq_len else min(positions, settings.max_seq_len)


def _all_alone(record: Record) -> bool:
    """Whether no sequence of the corpus could share a batch."""
    return record.provenance.batching["alone"] >= len(record.provenance.samples)
