"""The bookmarks of a measurement that begins, or goes on: what it is of in, who follows its passes out.

Of ranks that share a pass each keeps its own, for each runs batches of its own; and rank 0 says where.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.locate import Checkpoint, require_unchanged
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.provenance import content_of_pass
from pytest_maxact.measure.ranks.parallel import is_parallel
from pytest_maxact.measure.ranks.place import Place
from pytest_maxact.measure.resume.bookmarks import Bookmarks
from pytest_maxact.measure.resume.resumption import Resumption
from pytest_maxact.settings.settings import Settings


def bookmarks_of(
    resumption: Resumption | None, prepared: Prepared, settings: Settings, checkpoint: Checkpoint, digest: str | None,
    here: Place | None = None,
) -> Bookmarks | None:  # fmt: skip
    """Those of this measurement, none of files that changed meanwhile; None where nothing is kept. `digest`: that of
    the weight files, where it is known. `here`: which of several ranks this is, each of which runs a share.
    """
    if resumption is None or is_parallel(prepared) or settings.until_saturated:
        return None  # a pass that ends where nothing rises tells that by all that it saw
    content: dict[str, Any] = dict(content_of_pass(prepared, settings, digest or "", checkpoint.seal))
    if here is None:
        return Bookmarks(resumption, content, lambda: require_unchanged(checkpoint))
    content["rank"] = [here.rank, here.size]
    whose = f" in the share of {here}"
    return Bookmarks(resumption, content, lambda: require_unchanged(checkpoint), whose=whose)


def told_to_others(resumption: Resumption | None) -> dict[str, str] | None:
    """Where the other ranks keep theirs, as plain data: in the same folder, which is made for them."""
    if resumption is None:
        return None
    with suppress(OSError):  # rank 0 says why nothing can be kept there
        resumption.make()
    return {"folder": str(resumption.folder.absolute()), "named": resumption.named}


def told_by_rank_0(told: dict[str, str] | None) -> Resumption | None:
    """The reverse."""
    return Resumption(Path(told["folder"]), told["named"]) if told else None
