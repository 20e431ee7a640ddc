"""One checkpoint of a run, under test or a baseline: opened once before any weights load, then measured, or loaded,
once.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_maxact.errors import InputError
from pytest_maxact.families import Identity, identity_of
from pytest_maxact.limits import Limit, Measured, Ruleset, Waiver
from pytest_maxact.limits.regression import SHIFT
from pytest_maxact.names import Site
from pytest_maxact.record import Record, differences, footing_of
from pytest_maxact.series import short_name
from pytest_maxact.settings import Settings
from pytest_maxact.sources import Source

if TYPE_CHECKING:
    from pytest_maxact.measure import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A checkpoint under test, what is known of it before measuring: its limits, a title, and the names of the
    baselines it is compared with.
    """

    source: Source
    title: str
    rules: Ruleset
    against: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def label(self) -> str:
        """What a waiver calls it: its name in a series, else that of its folder or file."""
        return self.name or short_name(Path(self.source.path))

    @property
    def node(self) -> str:
        """What its checks' ids begin with: `maxact`, or `maxact[checkpoint-500]` in a series."""
        return f"maxact[{self.name}]" if self.name else "maxact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What is known of a checkpoint before it is measured. `footing`: the fields of `COMPARABLE`, None where only
    loading can tell.
    """

    source: Source
    title: str
    identity: Identity
    sites: tuple[Site, ...]
    schemes: tuple[str, ...]
    effects: tuple[str, ...]
    predicts: bool
    protocol: str
    samples: int
    footing: Mapping[str, Any]
    prepared: "Prepared | None" = None
    record: Record | None = None


def open_source(source: Source, run: Settings, like: "Prepared | None" = None) -> Opened:
    """Resolve a checkpoint, or load a Record. `like`: a checkpoint of the same run, prepared before. Raises
    InputError.
    """
    if source.is_record:
        return _of_record(source, Record.load(source.path))
    from pytest_maxact import measure
    from pytest_maxact.provenance import expected

    settings = source.settings(run)
    prepared = measure.prepare(settings, like)
    identity = prepared.identity
    return Opened(
        source=source,
        title=f"{prepared.checkpoint.name} ({identity.model_type}, {identity.shape})",
        identity=identity,
        sites=tuple(prepared.sites),
        schemes=settings.schemes_measured,
        effects=settings.effects_measured,
        predicts=prepared.predicts,
        protocol=settings.protocol,
        samples=len(prepared.sequences),
        footing=expected(prepared, settings),
        prepared=prepared,
    )


def _of_record(source: Source, record: Record) -> Opened:
    provenance = record.provenance
    return Opened(
        source=source,
        title=f"{provenance.model} (Record {source.path})",
        identity=identity_of(provenance),
        sites=tuple(reading.site for reading in record.sites.values()),
        schemes=provenance.schemes,
        effects=tuple(record.effects),
        predicts=provenance.predicts,
        protocol=provenance.protocol,
        samples=len(provenance.samples),
        footing=footing_of(provenance),
        record=record,
    )


def require_comparable(subject: Opened, baseline: Opened, what: str) -> None:
    """Raise InputError where figures of `subject` may not be compared with those of `baseline`, with the fields that
    differ.

    `what` says what the baseline is, as in `--maxact-baseline v1.safetensors`.
    """
    whose = subject.source.name or subject.title.split(" (")[0]
    fields = differences(baseline.footing, subject.footing)
    if fields:
        counts = (
            f"; {baseline.samples} samples there, {subject.samples} here" if subject.samples != baseline.samples else ""
        )
        raise InputError(
            f"{what} cannot be compared with {whose}: they differ in {', '.join(fields)}{counts}\n"
            "  measure both on the same corpus, with the same tokenizer, protocol, dtype and cut"
        )
    if subject.identity.hidden_size != baseline.identity.hidden_size:
        raise InputError(
            f"{what} cannot be compared with {whose}: it is a model of {baseline.identity.shape}, this one of "
            f"{subject.identity.shape}\n"
            "  a baseline is of the same architecture; give one of this model's"
        )
    here, there = {site.name: site for site in subject.sites}, {site.name: site for site in baseline.sites}
    lacking = [name for name in here if name not in there]
    gone = [name for name, site in there.items() if name not in here and not site.is_linear_input]
    if lacking or gone:
        words = f"has no {lacking[0]}" if lacking else f"has {gone[0]}, which is not here"
        raise InputError(
            f"{what} cannot be compared with {whose}: it {words}, so not every site could be "
            f"({len(lacking) + len(gone)} such sites)\n"
            "  a baseline is of the same architecture, measured with the same --maxact-sites and schemes"
        )
    if missing := [name for name in subject.schemes if name not in baseline.schemes]:
        raise InputError(
            f"{what} cannot be compared with {whose}: it was not measured under {', '.join(missing)}\n"
            "  measure it again under the same schemes"
        )


def require_sound(baseline: Opened, what: str) -> None:
    """Raise InputError for a baseline that is broken itself, as far as that is known before measuring."""
    if baseline.record and (
        broken := [reading.site.name for reading in baseline.record.sites.values() if reading.nonfinite]
    ):
        raise InputError(
            f"{what}: {broken[0]} holds NaN or infinite entries, so nothing can be compared with it\n"
            "  give a sound baseline"
        )


def require_distributions(subject: Opened, baseline: Opened, rules: Ruleset) -> None:
    """Raise InputError where distributions are to be compared, and a slim Record keeps none."""
    wanted = next((limit for limit in rules.limits if limit.metric == SHIFT), None)
    slim = next((one for one in (subject, baseline) if one.record and one.record.is_slim), None)
    if wanted and slim:
        raise InputError(
            f"{wanted.file}:{wanted.line}: max_shift compares distributions, and the Record {slim.source.path} is "
            "slim, it keeps none\n"
            "  measure it again without --maxact-slim, or leave out max_shift"
        )


def write_subjects(path: Path, subjects: Iterable[Subject], baselines: Iterable[Source]) -> None:
    """What was found before measuring, for other processes."""
    found = {
        "subjects": [asdict(subject) for subject in subjects],
        "baselines": [asdict(source) for source in baselines],
    }
    path.write_text(json.dumps(found, default=str), encoding="utf-8")


def read_subjects(path: Path) -> tuple[tuple[Subject, ...], tuple[Source, ...]]:
    """The reverse of `write_subjects`."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    subjects = []
    for entry in data["subjects"]:
        rules = entry["rules"]
        for name in ("limits", "fitness"):
            rules[name] = tuple(Limit(**limit) for limit in rules[name])
        rules["measured"] = Measured(**rules["measured"]) if rules["measured"] else None
        rules["waivers"] = tuple(
            Waiver(**{**waiver, "until": date.fromisoformat(waiver["until"])}) for waiver in rules["waivers"]
        )
        subjects.append(
            Subject(
                source=Source(**entry["source"]),
                title=entry["title"],
                rules=Ruleset(**rules),
                against=tuple(entry["against"]),
            )
        )
    return tuple(subjects), tuple(Source(**source) for source in data["baselines"])
