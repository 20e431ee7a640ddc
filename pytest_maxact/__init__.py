"""pytest-maxact: a release gate for LLM checkpoints. Maximum activations and low-bit reconstruction error, layer by
layer, as pytest checks.

This is the public face: what `__all__` names is kept stable, everything else may move. Names are looked up when they
are first asked for, so that an installed plugin that nobody uses imports nothing.

    from pytest_maxact import compare, load, load_limits, verdict

    record = load("run.maxact.safetensors")
    failed = [finding.message for finding in verdict(record, load_limits()) if not finding.accepted]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_maxact.errors import InputError, MaxactError, MeasureError
    from pytest_maxact.judge.compare.comparison import Comparison, compare
    from pytest_maxact.judge.limits.file import load_limits
    from pytest_maxact.judge.verdict.finding import Finding
    from pytest_maxact.judge.verdict.verdict import verdict
    from pytest_maxact.record.file import load, save
    from pytest_maxact.record.merge import merge
    from pytest_maxact.record.record import Record
    from pytest_maxact.record.summary import summary
    from pytest_maxact.record.table import table
    from pytest_maxact.trainer.callback import MaxActCallback

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "judge.compare.comparison",
    "Finding": "judge.verdict.finding",
    "InputError": "errors",
    "MaxActCallback": "trainer.callback",
    "MaxactError": "errors",
    "MeasureError": "errors",
    "Record": "record.record",
    "compare": "judge.compare.comparison",
    "load": "record.file",
    "load_limits": "judge.limits.file",
    "merge": "record.merge",
    "save": "record.file",
    "summary": "record.summary",
    "table": "record.table",
    "verdict": "judge.verdict.verdict",
}
"""Where every public name is defined."""

__all__ = [
    "Comparison",
    "Finding",
    "InputError",
    "MaxActCallback",
    "MaxactError",
    "MeasureError",
    "Record",
    "__version__",
    "compare",
    "load",
    "load_limits",
    "merge",
    "save",
    "summary",
    "table",
    "verdict",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}")
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
