"""What cannot be measured with one layer in memory at a time: a config and settings in, why not out.

Guards that nothing is loaded for a figure that a streamed pass does not give.
"""

from typing import Any

from pytest_maxact.errors import InputError, setting
from pytest_maxact.numbers.ways import STREAMED
from pytest_maxact.settings.settings import Settings


def unstreamed(config: Any, settings: Settings) -> str:
    """Why a streamed pass does not do, empty where it does."""
    if settings.effects_measured:
        return (
            f"{setting('effect')} and {setting('deploy')} compare predictions of a model that is in memory as a whole, "
            "which a streamed one is not"
        )
    if getattr(config, "quantization_config", None):
        return "its weights are quantized, and are not read layer by layer yet"
    return ""


def refuse_unstreamed(config: Any, settings: Settings) -> None:
    """Raise InputError where a streamed pass was asked for, and something that it does not give."""
    if settings.device == STREAMED and (why := unstreamed(config, settings)):
        raise InputError(
            f"{setting('device')} {STREAMED}: {why}\n"
            f"  leave them out ({setting('schemes')} reports all that is known of linear layers), give the checkpoint in "
            f"16 bits, or choose another {setting('device')}"
        )
