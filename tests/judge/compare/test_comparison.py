"""Comparing Records: what changed, where two models part, and what is not comparable."""

import json
import math
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.errors import InputError
from pytest_maxact.judge.compare.comparison import compare
from pytest_maxact.judge.compare.jumps import first_jump
from pytest_maxact.record.file import load, save
from pytest_maxact.record.summary import summary
from pytest_maxact.report.terminal.compare import render_comparison
from pytest_maxact.report.terminal.screen import Screen
from tests.support import records
from tests.support.changes import residual
from tests.support.records import CALM, with_values


def test_a_record_compared_with_itself_has_not_changed() -> None:
    comparison = compare(with_values(), with_values())
    assert comparison.parted is None
    assert {change.ratio for change in comparison.changes} == {1.0}
    assert (comparison.gone, comparison.new) == ((), ())


def test_the_first_site_in_depth_that_differs_is_where_they_part() -> None:
    other = with_values(layers__0__mlp_output=[[30.0, 1.0, 1.0, 1.0]], layers__1__hidden=[[160.0, 1.0, 2.0, 8.0]])
    comparison = compare(with_values(), other)
    assert comparison.parted is not None
    assert (comparison.parted.site, comparison.parted.ratio) == ("layers.0.mlp_output", 10.0)
    assert (comparison.jump_before, comparison.jump_after) == (None, 1)


@pytest.mark.parametrize(("factor", "parted"), [(1.0, False), (1.03125, False), (1.125, True), (0.875, True)])
def test_a_twentieth_is_no_change(factor: float, parted: bool) -> None:
    other = with_values(layers__1__hidden=[[16.0 * factor, 1.0, 2.0, 8.0]])
    assert (compare(with_values(), other).parted is not None) == parted


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_has_parted(value: float) -> None:
    comparison = compare(with_values(), with_values(layers__1__hidden=[[value, 1.0, 2.0, 8.0]]))
    assert comparison.parted is not None
    assert comparison.parted.site == "layers.1.hidden"
    assert math.isnan(comparison.parted.ratio)


@pytest.mark.parametrize(
    ("before", "after", "ratio", "parted", "shown"),
    [(0.0, 5.0, math.inf, True, " inf "), (0.0, 0.0, 1.0, False, ""), (5.0, 0.0, 0.0, True, " 0 ")],
)
def test_a_site_that_came_alive_or_died_has_parted(
    before: float, after: float, ratio: float, parted: bool, shown: str
) -> None:
    one, other = (with_values(layers__0__mlp_output=[[value] * 4]) for value in (before, after))
    comparison = compare(one, other)
    (change,) = (change for change in comparison.changes if change.site == "layers.0.mlp_output")
    assert (change.ratio, change.parted) == (ratio, parted)
    assert shown in " ".join(render_comparison(comparison, Screen(width=120)).split())


def test_a_jump_layer_multiplies_the_maximum_by_ten() -> None:
    assert first_jump(with_values()) is None
    assert first_jump(with_values(layers__0__hidden=[[20.0, 1.0, 1.0, 1.0]])) == 0
    assert first_jump(with_values(layers__0__hidden=[[19.875, 1.0, 1.0, 1.0]])) is None


@pytest.mark.parametrize(
    ("field", "value"), [("corpus_sha256", "x"), ("dtype", "float16"), ("protocol", "deployed"), ("max_seq_len", 7)]
)
def test_records_that_were_not_measured_alike_are_refused_with_what_differs(field: str, value: object) -> None:
    with pytest.raises(
        InputError, match=rf"were not measured alike; they differ in {field} \(.* there, {value} here\)"
    ):
        compare(records.record(CALM), records.record(CALM, **{field: value}))


def test_the_command_prints_where_they_part_within_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    save(with_values(), tmp_path / "a")
    save(with_values(layers__0__hidden=[[4.0, 1.0, 2.0, -80.0]]), tmp_path / "b")
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    text = capsys.readouterr().out
    assert "the first maximum that differs by more than 5 % is that of layers.0.hidden, 8 to 80" in " ".join(
        text.split()
    )
    assert "first jump layer: none before, 0 after" in text
    assert max(map(len, text.splitlines())) <= 80
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["parted_at"] == "layers.0.hidden"
    assert data["sites"]["layers.0.hidden"]["ratio"] == 10.0


def test_every_layer_is_a_row_with_the_ratio_of_each_of_its_sites() -> None:
    before = {
        "embedding": [[1.0]],
        "layers.0.hidden": [[2.0]],
        "layers.0.attn_output": [[4.0]],
        "layers.0.router": [[8.0]],
        "final_norm": [[1.0]],
    }
    after = {**before, "layers.0.hidden": [[3.0]], "layers.0.attn_output": [[2.0]], "layers.0.router": [[math.nan]]}
    pair = records.record(before), records.record(after)
    lines = [line.split() for line in render_comparison(compare(*pair), Screen()).splitlines()]
    assert ["layer", "before", "after", "ratio", "shift", "dB", "massive", "attn", "router"] in lines
    assert [row[:4] for row in lines if row and row[0] in ("embed", "0", "norm")] == [
        ["embed", "1", "1", "1.00"], ["0", "2", "3", "1.50"], ["norm", "1", "1", "1.00"],
    ]  # fmt: skip
    assert next(row for row in lines if row and row[0] == "0")[-2:] == ["0.50", "-"]
    narrow = render_comparison(compare(*pair), Screen(width=60))
    assert "router" not in narrow.split("before, after, ratio")[0]
    assert max(map(len, narrow.splitlines())) <= 60


def test_a_layer_without_a_residual_stream_shows_no_other_as_such_and_changed_linear_inputs_have_rows() -> None:
    before = {
        "embedding": [[1.0]],
        "layers.0.attn_output": [[4.0]],
        "layers.0.qkv_in": [[2.0]],
        "layers.0.o_in": [[2.0]],
        "final_norm": [[1.0]],
    }
    pair = records.record(before), records.record({**before, "layers.0.qkv_in": [[200.0]]})
    lines = [line.split() for line in render_comparison(compare(*pair), Screen()).splitlines()]
    assert ["0", "1.00"] in lines
    assert next(row for row in lines if row[:1] == ["qkv_in"])[:4] == ["qkv_in", "2", "200", "1e+02"]
    assert not any(row[:1] == ["o_in"] for row in lines)


def test_the_command_joins_parts_and_refuses_the_same_part_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        sample = records.Measured(id=f"s-{name}", split="calibration" if name == "a" else "evaluation", values=CALM)
        save(records.record_of([sample]), tmp_path / name)
    assert main(["merge", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "whole")]) == 0
    assert "2 samples, 2 tokens, M 16" in capsys.readouterr().out
    assert load(tmp_path / "whole").sites["layers.1.hidden"].count == 8
    assert main(["merge", str(tmp_path / "a"), str(tmp_path / "a"), "-o", str(tmp_path / "twice")]) == 4
    assert "share texts" in capsys.readouterr().err


def test_a_comparison_says_of_each_side_what_it_is_and_how_many_tokens_are_massive() -> None:
    comparison = compare(residual(1.0, 2.0, 4.0, massive=(3, 0)), residual(1.0, 8.0, 4.0, massive=(0, 5)))
    assert [(side.model_type, side.m, side.carrier) for side in (comparison.before, comparison.after)] == [
        ("qwen3", 4.0, "layers.1.hidden"),
        ("qwen3", 8.0, "layers.0.hidden"),
    ]
    assert {change.site: (change.massive_before, change.massive_after) for change in comparison.changes} == {
        "embedding": (None, None),
        "layers.0.hidden": (3, 0),
        "layers.1.hidden": (0, 5),
    }


def test_a_comparison_with_a_slim_record_on_either_side_is_slim() -> None:
    whole = with_values()
    slim = summary(whole)
    assert [compare(*pair).slim for pair in ((whole, whole), (slim, whole), (whole, slim))] == [False, True, True]
