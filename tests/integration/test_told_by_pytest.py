"""What pytest prints of a gate, whatever a model, its folder and its tensors are called: no line of it is obeyed by a
terminal or a CI system, and every id is a check's own and may be pasted.
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_maxact.errors import name_in_id, shown
from pytest_maxact.numbers.scan import TensorScan
from tests.support import records
from tests.support.gate_runs import run_gate
from tests.support.hostile import NAMES, is_text
from tests.support.pages import LIMITS, kept
from tests.support.runner import read_command

_FOLDERS = ("lines", "escapes", "command", "group", "quotes", "rich")
SERIES = [NAMES[key].replace("/", "_").replace("\0", "_") for key in _FOLDERS]
OTHERS = ["a[0]b", "x\n::error file=a::owned", "x\\n::error file=a::owned"]
_RUN = ("--maxact-limits=lim.yaml", "--maxact-family=tiny", "-p", "no:randomly", "-p", "no:cacheprovider")


def broken(model: str, tensors: list[str], folder: Path, name: str) -> Path:
    """A Record of a model of that name, whose tensors of those names hold what is not finite."""
    values = {site: [[1.0, -2.0, 0.5, 24.0]] for site in ("embedding", "layers.0.hidden", "layers.1.hidden")}
    scan = TensorScan(file="model.safetensors", dtype="BF16", shape=(4,), elements=4, nonfinite=3, largest=1.0)
    named = records.SOUND.named | {f"{tensor}.weight": scan for tensor in tensors}
    record = records.record(values, model=model)
    return kept(
        replace(record, weights=replace(records.SOUND, named=named, tensors=20 + len(named))),
        folder / f"{name}.record.safetensors",
    )


def looked_at(result: pytest.RunResult) -> list[str]:
    printed = result.stdout.str() + "\n" + result.stderr.str()
    lines = [line for line in printed.split("\n") if read_command(line) is None]
    assert not [line for line in lines if re.match(r"\s*::", line) or re.search(r"##\w*\[", line)]
    assert not [line for line in lines if not is_text(line)][:3]
    return lines


def test_names_are_text_in_all_that_is_printed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CI", "GITHUB_ACTIONS"):
        monkeypatch.setenv(variable, "true")
    tensors = [*(name.replace("\ud800", "_") for name in NAMES.values()), *OTHERS]
    broken("\n".join(NAMES[key] for key in ("command", "group", "escapes")), tensors, pytester.path, "a")
    (pytester.path / "lim.yaml").write_text(LIMITS)
    run = ("--maxact-replay=a.record.safetensors", *_RUN)
    lines = looked_at(run_gate(pytester, *run, "-v", "-rA", exit=1))
    ids = [f"maxact::weights.{name_in_id(tensor)}.weight::nonfinite" for tensor in tensors]
    assert len(set(ids)) == len(ids)
    for name in ids:
        assert len([line for line in lines if line.startswith(f"FAILED {name} - ")]) == 1
    assert looked_at(run_gate(pytester, *run, *ids, exit=1, passed=0, failed=len(ids)))


def test_a_series_of_such_names_is_judged_and_its_junit_is_well_formed(pytester: pytest.Pytester) -> None:
    for name in (*SERIES, *OTHERS):
        broken(name, [name], pytester.path / "run", name.replace("/", "_"))
    (pytester.path / "lim.yaml").write_text(LIMITS)
    run = ("--maxact-replay=run/*.record.safetensors", *_RUN)
    lines = looked_at(run_gate(pytester, *run, "-v", "-rA", "--junitxml=out.xml", exit=1))
    names = {name_in_id(name) for name in (*SERIES, *OTHERS)}
    assert len(names) == len(SERIES) + len(OTHERS)
    for name in names:
        assert [line for line in lines if line.startswith(f"FAILED maxact::{name}::layers.0.hidden::max_abs")]
        assert [line for line in lines if line.startswith(f"PASSED maxact::{name}::embedding::nonfinite")]
    told = {str(one.get("name")) for one in ET.parse(pytester.path / "out.xml").iter("property")}
    assert {f"maxact.{shown(name)}.model" for name in (*SERIES, *OTHERS)} <= told
    chosen = f"maxact::{name_in_id('a[0]b')}::layers.0.hidden::max_abs"
    run_gate(pytester, *run, chosen, exit=1, failed=1)
