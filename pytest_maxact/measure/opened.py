"""A checkpoint with its weights in memory and its corpus seen once, for questions that a Record does not answer.

Settings in; what is loaded, its sites and their readings out.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pytest_maxact.checkpoint.digest import weights_digest
from pytest_maxact.checkpoint.load import LoadedModel, load
from pytest_maxact.checkpoint.locate import require_unchanged, with_seal, with_weights
from pytest_maxact.checkpoint.placement.placement import require_room
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.errors import InputError, setting
from pytest_maxact.measure.arithmetic import computing
from pytest_maxact.measure.passed import anatomy_of
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.progress import LOADING, MEASURING, Progress, begin
from pytest_maxact.measure.seen import seen_on
from pytest_maxact.numbers.ways import STREAMED
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """`readings`: of the corpus, by site; `weights`: the digest of the files; `batch_tokens`: of a batch."""

    prepared: Prepared
    loaded: LoadedModel
    anatomy: Anatomy
    readings: Mapping[str, SiteReading]
    weights: str
    batch_tokens: int

    @property
    def carrier(self) -> SiteReading:
        """The counted site that holds M of the corpus."""
        counted = [reading for reading in self.readings.values() if reading.site.counted]
        return min(counted, key=lambda reading: (-reading.max_abs, reading.site.order))


@contextmanager
def opened(settings: Settings, progress: Progress | None = None) -> Iterator[Opened]:
    """The arithmetic that was asked for holds for the duration of the context; in the end the files are what they were.
    Raises InputError or MeasureError.
    """
    prepared = prepare(settings)
    if prepared.placement:
        if prepared.placement.how == STREAMED:
            raise InputError(
                f"{prepared.checkpoint.name} would be streamed, and what is tried here needs it in memory as a whole\n"
                f"  choose another {setting('device')}, or a machine with more memory"
            )
        require_room(prepared.placement)
    files = with_weights(prepared.checkpoint, settings)
    checkpoint = with_seal(prepared.checkpoint, files)
    begin(progress, LOADING)
    loaded = load(checkpoint, settings, prepared.placement)
    anatomy = anatomy_of(prepared, settings, loaded).asked
    batch_tokens = prepared.batch_tokens or settings.batch_tokens
    with computing(settings.arithmetic, loaded.device, loaded.dtype):
        begin(progress, MEASURING)
        yield Opened(
            prepared=prepared, loaded=loaded, anatomy=anatomy,
            readings=seen_on(loaded, anatomy, prepared.whole, batch_tokens, prepared.tokenizer),
            weights=weights_digest(files), batch_tokens=batch_tokens,
        )  # fmt: skip
    require_unchanged(checkpoint)
