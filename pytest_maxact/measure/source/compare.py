"""An artifact against the source that was named: a prepared measurement and its Record in, what was compared out.

Guards that what could not be compared is said, with the reason.
"""

from pytest_maxact.checkpoint.formats.quantizers import usual_form
from pytest_maxact.checkpoint.locate import require_unchanged, with_weights
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.progress import COMPARING, Progress, begin
from pytest_maxact.measure.source.origin import origin_of, unpredicted
from pytest_maxact.measure.source.predictions import compared_predictions
from pytest_maxact.measure.source.weights import compared_weights
from pytest_maxact.record.record import Record
from pytest_maxact.record.source import AgainstSource
from pytest_maxact.settings.settings import Settings


def against_source(
    prepared: Prepared, settings: Settings, record: Record, progress: Progress | None = None
) -> AgainstSource | None:
    """None where no source was named, or a Record of it. Raises MaxactError."""
    origin = origin_of(settings)
    if origin is None:
        return None
    begin(progress, COMPARING)
    files = with_weights(prepared.checkpoint, settings)
    weights = compared_weights(prepared.checkpoint, settings, origin)
    why = unpredicted(prepared)
    if not why and record.predictions is not None and record.predictions.unchecked:
        why = record.predictions.unchecked
    found = noise = None
    if not why:
        alone = record.provenance.batching["alone"] >= len(prepared.sequences)
        found, noise = compared_predictions(
            prepared.checkpoint, settings, origin, prepared.sequences, alone, prepared.placement
        )
    digest = origin.digest
    require_unchanged(origin.checkpoint)
    return AgainstSource(
        source=origin.checkpoint.name,
        weights_sha256=digest,
        form=usual_form(files.packing) if files.packing else "",
        weights=weights,
        predictions=found,
        noise=noise,
        unpredicted=why,
    )
