"""What cannot be measured with one layer in memory at a time: what is known of a checkpoint, and settings, in; why not,
out.

Guards that nothing is loaded for a figure that a streamed pass does not give.
"""

from importlib.util import find_spec
from pathlib import Path

from pytest_maxact.errors import InputError, MeasureError, setting
from pytest_maxact.numbers.ways import STREAMED
from pytest_maxact.settings.places import expanded
from pytest_maxact.settings.settings import Settings

_MOST_THREADS = 30_000
"""What Linux gives a process of its own accord, nearly."""


def unstreamed(quantized: bool, settings: Settings) -> str:
    """Why a streamed pass does not do, empty where it does."""
    if settings.effects_measured:
        return (
            f"{setting('effect')} and {setting('deploy')} compare predictions of a model that is in memory as a whole, "
            "which a streamed one is not"
        )
    if settings.until_saturated:
        return f"{setting('until_saturated')} ends between batches, and a streamed pass runs all of them layer by layer"
    if settings.repeat:
        return (
            f"{setting('repeat')} measures samples again with a model that is in memory as a whole, which a streamed "
            "one is not"
        )
    if settings.source and not expanded(settings.source).is_file():
        return f"{setting('source')} compares predictions of models that are in memory as a whole, one after the other"
    if settings.stress or settings.hunt:
        tried = setting("stress") if settings.stress else setting("hunt")
        return f"{tried} runs inputs that those before them decide, each time a pass of all weights"
    if find_spec("fcntl") is None:
        return "this system has no locks of files, by which what was spilled is told from what was left"
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


def refuse_threads(pieces: int, each: int) -> None:
    """Raise MeasureError where so many waiting pieces of work, with `each` threads that compute, are more than a
    process may have.
    """
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    bounds = [_MOST_THREADS, *([soft] if soft != resource.RLIM_INFINITY else [])]
    for file in (Path("/sys/fs/cgroup/pids.max"), Path("/sys/fs/cgroup/pids/pids.max")):
        told = file.read_text().strip() if file.is_file() else ""
        bounds += [int(told)] if told.isdigit() else []
    if pieces * each > min(bounds) // 2:
        raise MeasureError(
            f"{pieces} batches wait in threads of their own, each with {each} that compute, and {min(bounds)} threads "
            f"are allowed\n  raise {setting('batch_tokens')}, or set OMP_NUM_THREADS lower"
        )
