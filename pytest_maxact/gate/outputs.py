"""Every place that a run was asked to write to, looked at before anything is measured, and its Records put there. No
torch.

What is refused here is refused again when it is written, by the same guard.
"""

from collections.abc import Iterable
from pathlib import Path

from pytest_maxact.errors import InputError
from pytest_maxact.gate.sources import Source
from pytest_maxact.judge.limits.file import LIMITS
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.measure.store import Store
from pytest_maxact.record.file import RECORD, put
from pytest_maxact.record.hunt import FINDS, corpus_of
from pytest_maxact.record.output import require_folder, require_place, unwritten, write_output
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from pytest_maxact.settings.settings import Settings


def checkpoints_of(sources: Iterable[Source]) -> list[Path]:
    """The folders of a run's checkpoints, under test and baselines, which nothing is written into."""
    return [Path(source.path) for source in sources if not source.is_record]


def require_outputs(settings: Settings, subjects: Iterable[Source], baselines: Iterable[Source]) -> None:
    """Raise InputError where a Record, a cache or limits could not be written, or not without destroying something."""
    subjects, baselines = list(subjects), list(baselines)
    apart = checkpoints_of([*subjects, *baselines])
    if settings.save:
        for source in subjects:
            target = record_place(Path(settings.save), source)
            if source.name:
                require_folder(target.parent, "the Records of a series", apart)
            new_folder = source.name and not target.parent.exists()
            require_place(target.parent if new_folder else target, RECORD, apart)
            _refuse_baseline(target, baselines)
    if settings.hunt_out:
        for source in subjects:
            target = finds_place(Path(settings.hunt_out), source)
            new_folder = source.name and not target.parent.exists()
            require_place(target.parent if new_folder else target, FINDS, apart)
    if settings.cache:
        Store(Path(settings.cache), apart)
    if settings.update and settings.limits:
        require_place(Path(settings.limits), LIMITS, apart)


def _refuse_baseline(target: Path, baselines: Iterable[Source]) -> None:
    """Raise InputError where a Record would take the place of the one that it is compared with."""
    for baseline in baselines:
        if baseline.is_record and target.exists() and target.samefile(baseline.path):
            raise InputError(
                f"the Record cannot be written to {target}: it is the baseline of this run\n"
                "  give another path; accept a new baseline by hand, when it has passed"
            )


def save_record(record: Record, settings: Settings, source: Source, rules: Ruleset) -> None:
    """Put the Record of a checkpoint under test where the run was asked to. Raises InputError."""
    target = record_place(Path(settings.save or ""), source)
    kept = (limit.metric.name for limit in rules.limits if not limit.against)
    try:
        if source.name:
            target.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write the Record to {target}: {unwritten(error)}") from error
    put(summary(record, kept) if settings.slim else record, target, checkpoints_of([source]))


def save_finds(record: Record, settings: Settings, source: Source) -> None:
    """Put what a search found where the run was asked to. Raises InputError."""
    target = finds_place(Path(settings.hunt_out or ""), source)
    try:
        if source.name:
            target.parent.mkdir(exist_ok=True)
        content = corpus_of(record.hunt or (), record.provenance.tokenizer_sha256)
        write_output(target, content, FINDS, checkpoints_of([source]))
    except OSError as error:
        raise InputError(f"cannot write the worst inputs to {target}: {unwritten(error)}") from error


def finds_place(target: Path, source: Source) -> Path:
    """Where the worst inputs go: the file itself, or a file in the folder for one of a series."""
    return target / f"{source.name}.hunt.jsonl" if source.name else target


def record_place(target: Path, source: Source) -> Path:
    """Where the Record of a checkpoint goes: the file itself, or a file in the folder for one of a series."""
    return target / f"{source.name}.maxact.safetensors" if source.name else target
