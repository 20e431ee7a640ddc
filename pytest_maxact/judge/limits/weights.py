"""Limits on the weight files: one for all tensors by each of what can be wrong with them, and of a tensor that is, one
of its own. A limits file in, limits out.
"""

from collections.abc import Sequence

from pytest_maxact.judge.limits.file import LimitsFile
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.record.metrics.metric import ALL_ZERO, LINT, MISFIT, NONFINITE

WEIGHTS = "weights"
"""Stands in a limit for all tensors of the weight files; `weights.<tensor>` for one of them."""
_WHY = {
    NONFINITE: "a NaN or infinity is a broken checkpoint, whether or not this run meets it",
    MISFIT: "config.json and the weight files belong together",
    ALL_ZERO: "a matrix of zeros was not loaded, or not trained",
    LINT: "a runtime misreads, or refuses, quantized tensors that are not what their config says",
}


def weight_limits(files: Sequence[LimitsFile], quantized: bool = False) -> list[Limit]:
    """The limits on all tensors, from the first file that has a section `generic`. `quantized`: scales and codes of
    low bits are among them.
    """
    file = next((file for file in files if file.document.generic), files[0])
    stated = file.document.generic.weights if file.document.generic else None
    return [
        Limit(
            site=WEIGHTS,
            metric=metric,
            bound=float(getattr(stated, metric.name, 0)),
            sense="max",
            rule="every family",
            source=why,
            file=str(file.path),
            line=file.line("generic", "weights", metric.name),
        )
        for metric, why in _WHY.items()
        if quantized or metric != LINT
    ]


def is_of_weights(site: str) -> bool:
    """Whether what stands where limits name a site is the weights, or one tensor of them."""
    return site == WEIGHTS or tensor_of(site) is not None


def tensor_of(site: str) -> str | None:
    """The tensor that it is; None for anything else."""
    prefix, _, name = site.partition(".")
    return name if prefix == WEIGHTS and name else None


def site_of(tensor: str) -> str:
    """What stands for a tensor where limits name a site."""
    return f"{WEIGHTS}.{tensor}"
