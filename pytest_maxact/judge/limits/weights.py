"""Limits on the weight files: one for all tensors by each of what can be wrong with them, and of a tensor that is, one
of its own. A limits file in, limits out.
"""

from collections.abc import Iterator, Sequence

from pytest_maxact.judge.limits.file import LimitsFile, builtin_path
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.schema.sections import StaticScales, Weights
from pytest_maxact.record.metrics.metric import ALL_ZERO, LINT, MISFIT, NONFINITE, Metric

WEIGHTS = "weights"
"""Stands in a limit for all tensors of the weight files; `weights.<tensor>` for one of them."""
_WHY = {
    NONFINITE: "a NaN or infinity is a broken checkpoint, whether or not this run meets it",
    MISFIT: "config.json and the weight files belong together",
    ALL_ZERO: "a matrix of zeros was not loaded, or not trained",
    LINT: "a runtime misreads, or refuses, quantized tensors that are not what their config says",
}


def weight_limits(files: Sequence[LimitsFile], quantized: bool = False, static: bool = False) -> list[Limit]:
    """The limits on all tensors, from the first file that has a section `generic`. `quantized`: scales and codes of
    low bits are among them; `static`: so are static scales that are held against what is measured.
    """
    file = next((file for file in files if file.document.generic), files[0])
    stated = file.document.generic.weights if file.document.generic else None
    return [*_of_files(file, stated, quantized), *(_static_limits(files) if static else ())]


def _static_limits(files: Sequence[LimitsFile]) -> Iterator[Limit]:
    """The limits on all static scales, from the first file that says anything of them, else as they are shipped."""
    file = next((file for file in files if _says_static(file)), None)
    generic = file.document.generic if file else None
    stated = generic.static_scales if generic else StaticScales()
    for key in StaticScales.model_fields:
        sense, _, name = key.partition("_")
        yield Limit(
            site=WEIGHTS,
            metric=Metric.parse(f"static_{name}"),
            bound=float(getattr(stated, key)),
            sense=sense,
            rule="every static scale",
            source="ours",
            file=str(file.path if file else builtin_path()),
            line=file.line("generic", "static_scales", key) if file else 1,
        )


def _says_static(file: LimitsFile) -> bool:
    return file.document.generic is not None and "static_scales" in file.document.generic.model_fields_set


def _of_files(file: LimitsFile, stated: Weights | None, quantized: bool) -> list[Limit]:
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
