"""The bookmarks of a measurement that begins, or goes on: what it is of in, who follows its passes out."""

from pytest_maxact.checkpoint.locate import Checkpoint, require_unchanged
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.provenance import content_of_pass
from pytest_maxact.measure.resume.bookmarks import Bookmarks
from pytest_maxact.measure.resume.resumption import Resumption
from pytest_maxact.settings.settings import Settings


def bookmarks_of(
    resumption: Resumption | None, prepared: Prepared, settings: Settings, checkpoint: Checkpoint, digest: str | None
) -> Bookmarks | None:
    """Those of this measurement, none of files that changed meanwhile; None where nothing is kept. `digest`: that of
    the weight files, where it is known.
    """
    if resumption is None:
        return None
    content = content_of_pass(prepared, settings, digest or "", checkpoint.seal)
    return Bookmarks(resumption, content, lambda: require_unchanged(checkpoint))
