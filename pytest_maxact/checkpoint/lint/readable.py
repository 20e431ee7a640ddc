"""Whether weights can be given back at all: what was read of a folder in, why the reader of its format refuses it out.

Guard: a layout that no reader knows is not passed for want of a rule about it. compressed-tensors is left out, whose
reader is that library's, and takes torch.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from pytest_maxact.checkpoint.formats.compressed import NAMES
from pytest_maxact.checkpoint.formats.stated import stated_quantization
from pytest_maxact.checkpoint.formats.table import is_read, packing_of
from pytest_maxact.checkpoint.lint.artifact import Artifact, fault
from pytest_maxact.errors import InputError, first_line
from pytest_maxact.numbers.lint import LintFault


def refusals(found: Artifact) -> Iterator[LintFault]:
    """None where others of its shards are not there, which may hold what is missing."""
    stated = None if found.partly else stated_quantization(_config(found), found.folder)
    if stated is None or not is_read(stated) or stated.method in NAMES:
        return
    try:
        packing_of(stated, [(found.places[key], header) for key, header in found.headers.items()])
    except InputError as error:
        what = first_line(error).replace(f"{found.folder}/", "")
        yield fault("method", stated.where.replace(f"{found.folder}/", ""), f"it is not read: {what}")


def _config(found: Artifact) -> Any:
    """As transformers would hold it."""
    inner = SimpleNamespace(**found.text_config)
    return SimpleNamespace(**found.config, get_text_config=lambda: inner)
