"""A search as it is asked for: settings and names of sites in, what was found out."""

from collections.abc import Sequence
from pathlib import Path

from pytest_maxact.corpus.tokens import tokenizer_digest
from pytest_maxact.measure.arithmetic import arithmetic_of
from pytest_maxact.measure.hunt.hunt import hunt, names_of
from pytest_maxact.measure.opened import opened
from pytest_maxact.measure.progress import HUNTING, Progress
from pytest_maxact.record.hunt import Hunted
from pytest_maxact.settings.settings import Settings


def hunted(
    settings: Settings, sites: Sequence[str], *, evaluations: int | None, seconds: float | None,
    state_file: Path | None, progress: Progress | None = None,
) -> tuple[tuple[Hunted, ...], str, tuple[str, ...]]:  # fmt: skip
    """What was found, the digest of the tokenizer, and sites that are not finite on the corpus. `sites`: by name, or
    `carrier`, which is also meant by none. Raises InputError or MeasureError.
    """
    with opened(settings, progress) as model:
        named = names_of(sites, model.carrier.site.name)
        found = hunt(
            model.loaded, model.anatomy, model.prepared.tokenizer, model.prepared.whole, model.readings,
            named, seed=settings.seed, batch_tokens=model.batch_tokens, evaluations=evaluations,
            seconds=seconds, weights=model.weights, state_file=state_file,
            arithmetic=arithmetic_of(settings.arithmetic, model.loaded.device, model.loaded.dtype),
            progress=lambda done, total: progress(HUNTING, done, total, 0.0) if progress else None,
        )  # fmt: skip
        broken = tuple(name for name, reading in model.readings.items() if reading.nonfinite)
        return found, tokenizer_digest(model.prepared.tokenizer), broken
