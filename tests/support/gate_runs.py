"""The gate run inside a test: files, arguments, outcome and what it prints, in one call."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.support import tiny

OF_WEIGHTS = 3
"""Checks of the weight files as a whole: non-finite entries, misfits, matrices of zeros."""
FROM_BELOW = 7 * tiny.LAYERS + 2
"""By the shipped envelopes: the maximum of every site but the final norm, the median of these but gates."""
CHECKS = 2 * (4 * tiny.LAYERS + 2) + tiny.LAYERS + 1 + OF_WEIGHTS + FROM_BELOW
"""Per site a maximum and a non-finite count, of every layer what it changes, the carrier's INT-8 error, three of the
weight files, limits from below.
"""
SHIFTS = 4 * tiny.LAYERS + 2
"""The shift of every site, which a slim Record cannot tell."""
RELATIVE = 3 * (4 * tiny.LAYERS + 2) + SHIFTS + 2 * tiny.LAYERS + 2
"""Growth, shrink, shift and loss of INT-8 SQNR of every site; the turn of two blocks of every layer; massive-activation
layers and the jump layer of the model.
"""


def run_gate(
    pytester: pytest.Pytester,
    *args: object,
    files: Mapping[str, str] = {},
    exit: int | None = None,
    report: Sequence[str] = (),
    says: Sequence[str] = (),
    lacks: Sequence[str] = (),
    complaints: Sequence[str] = (),
    refuses: str | None = None,
    subprocess: bool = False,
    **outcomes: int,
) -> pytest.RunResult:
    """A pytest run with these arguments beside these files.

    `report` and `complaints` are patterns of lines in the order in which stdout and stderr have them; `says` are words
    of the report however its lines are broken, `lacks` words that it has nowhere; `refuses` is part of what a usage
    error says. A usage error is never a traceback.
    """
    for name, text in files.items():
        (pytester.path / name).write_text(text)
    run = pytester.runpytest_subprocess if subprocess else pytester.runpytest
    result = run(*(str(arg) for arg in args))
    printed, complaint = result.stdout.str(), result.stderr.str()
    if outcomes:
        result.assert_outcomes(**outcomes)
    if refuses is not None:
        exit = pytest.ExitCode.USAGE_ERROR
        assert refuses in complaint
    if exit is not None:
        assert result.ret == exit
    result.stdout.fnmatch_lines(report)
    result.stderr.fnmatch_lines(complaints)
    running = " ".join(printed.split())
    for words in says:
        assert words in running
    for words in lacks:
        assert words not in printed
        assert words not in running
    if exit == pytest.ExitCode.USAGE_ERROR:
        assert "Traceback" not in complaint
    return result


def drop_tensor(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def loads(file: Path) -> Counter[str]:
    return Counter(file.read_text().split()) if file.exists() else Counter()
