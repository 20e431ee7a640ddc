"""What cannot be measured with one layer in memory at a time: what is known of a checkpoint, and settings, in; why not,
out.

Guards that nothing is loaded for a figure that a streamed pass does not give.
"""

from pytest_maxact.errors import InputError, setting
from pytest_maxact.numbers.ways import STREAMED
from pytest_maxact.settings.settings import Settings


def unstreamed(quantized: bool, settings: Settings) -> str:
    """Why a streamed pass does not do, empty where it does."""
    if settings.effects_measured:
        return (
            f"{setting('effect')} and {setting('deploy')} compare predictions of a model that is in memory as a whole, "
            "which a streamed one is not"
        )
    return "its weights are quantized, and are not read layer by layer yet" if quantized else ""


def refuse_unstreamed(quantized: bool, settings: Settings) -> None:
    """Raise InputError for something that a streamed pass does not give."""
    if why := unstreamed(quantized, settings):
        raise InputError(
            f"{setting('device')} {STREAMED}: {why}\n"
            f"  leave them out ({setting('schemes')} tells all of linear layers), give the checkpoint in 16 bits, or "
            f"choose another {setting('device')}"
        )


def refuse_asked(quantized: bool, settings: Settings) -> None:
    """The same, where nothing but a streamed pass was asked for."""
    if settings.device == STREAMED:
        refuse_unstreamed(quantized, settings)


def refuse_shared(ranks: bool) -> None:
    """Raise InputError where several processes share a measurement: each would read all of the files."""
    if ranks:
        raise InputError(
            f"{setting('device')} {STREAMED}: a streamed pass is not shared by the ranks of torchrun\n"
            f"  start one process, or measure parts of the corpus with {setting('shard')} and merge them"
        )
