"""The public face: what users may import, from where it is defined, at no cost before it is asked for."""

import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

import pytest_maxact
from tests.support.paths import RECORDS

FACE = {
    "Comparison", "Finding", "InputError", "MaxActCallback", "MaxactError", "MeasureError", "Record", "__version__",
    "compare", "load", "load_limits", "merge", "save", "summary", "table", "verdict",
}  # fmt: skip


def test_the_face_is_what_it_is_said_to_be() -> None:
    assert set(pytest_maxact.__all__) == FACE
    assert set(dir(pytest_maxact)) >= FACE


@pytest.mark.parametrize("name", sorted(FACE - {"__version__"}))
def test_every_public_name_is_the_one_that_is_defined_where_it_lives(name: str) -> None:
    found = getattr(pytest_maxact, name)
    assert getattr(import_module(found.__module__), name) is found
    assert found.__module__.startswith("pytest_maxact.")
    assert found.__doc__


def test_no_public_name_is_that_of_a_room() -> None:
    """A room, once imported, would stand in its place."""
    import pkgutil

    rooms = {module.name for module in pkgutil.iter_modules(pytest_maxact.__path__)}
    assert not rooms & FACE


def test_another_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'judgement'; it has .*load_limits"):
        _ = pytest_maxact.judgement


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import pytest_maxact", ("numpy", "torch", "yaml", "pydantic")),
        ("from pytest_maxact import *", ()),
        (
            "from pytest_maxact import load, save, merge, table, summary, compare, verdict, load_limits",
            ("torch", "pytest"),
        ),
    ],
)
def test_it_imports_no_more_than_is_asked_for(code: str, absent: tuple[str, ...], warm_python: Path) -> None:
    check = f"import sys; {code}; print(*sorted({set(absent)!r} & set(sys.modules)))" if absent else code
    python = sys.executable if absent else warm_python  # which has imported torch, and nothing of ours
    told = subprocess.run([python, "-c", check], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


def test_a_verdict_in_one_call() -> None:
    from pytest_maxact import MeasureError, load, load_limits, verdict

    record = load(RECORDS / "bfloat16.safetensors")
    findings = verdict(record, load_limits())
    assert {finding.limit.sense for finding in findings if not finding.accepted} == {"min"}, "its weights are random"
    ranges = verdict(record, load_limits(), family="generic")
    assert ranges
    assert all(finding.accepted for finding in ranges)
    assert {finding.limit.file.rpartition("/")[2] for finding in findings} == {"thresholds.yaml"}
    broken = verdict(load(RECORDS / "nonfinite.safetensors"))
    assert not all(finding.accepted for finding in broken)
    relative = verdict(record, baselines={"before": record})
    assert [finding for finding in relative if finding.limit.against == "before"]
    assert len([finding for finding in relative if not finding.limit.against]) == len(findings)
    with pytest.raises(MeasureError, match="is broken itself"):
        verdict(record, baselines={"before": load(RECORDS / "nonfinite.safetensors")})


@pytest.mark.parametrize(
    ("record", "baseline", "apart"),
    [("deploy", "bfloat16", "layers.0.qkv_in"), ("bfloat16", "experts", "layers.0.router")],
)
def test_a_baseline_that_not_all_can_be_compared_with_gives_no_verdict(record: str, baseline: str, apart: str) -> None:
    from pytest_maxact import InputError, load, verdict

    with pytest.raises(InputError, match=f"do not both have {apart}, so not all of it could be compared"):
        verdict(load(RECORDS / f"{record}.safetensors"), baselines={"v1": load(RECORDS / f"{baseline}.safetensors")})


def test_a_scheme_that_only_the_record_was_measured_under_gives_no_verdict_beside_a_baseline() -> None:
    from pytest_maxact import InputError, load, verdict

    whole = load(RECORDS / "deploy.safetensors")
    schemes = tuple(scheme for scheme in whole.provenance.schemes if scheme != "FP8")
    less = replace(whole, provenance=replace(whole.provenance, schemes=schemes))
    with pytest.raises(InputError, match="do not both have FP8"):
        verdict(whole, baselines={"v1": less})


def test_limits_are_loaded_by_a_path_of_either_kind(tmp_path: Path) -> None:
    from pytest_maxact import load_limits

    path = tmp_path / "mine.yaml"
    path.write_text("version: 1\nextends: builtin\n")
    assert [file.path for file in load_limits(str(path))] == [file.path for file in load_limits(path)]
    assert load_limits(path)[0].path == path


def test_limits_of_another_protocol_give_no_verdict() -> None:
    from pytest_maxact import InputError, load, verdict

    with pytest.raises(InputError, match="hold for protocol 'paper'"):
        verdict(load(RECORDS / "deployed-protocol.safetensors"))
