"""What the shipped file derives from published tables follows from the figures that it states, and from small tables as
worked out by hand.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_maxact.judge.limits.file import builtin_path, load_limits, parse_limits
from pytest_maxact.judge.limits.schema.runs import by_layer, in_runs
from tools.derive_limits import report, written
from tools.layer_margins import (
    NO_LAYERS,
    UNTOLD,
    Evidence,
    evidence_of,
    exceeding,
    left_out,
    margins_of,
    rounded_up,
    smallest_layers,
)
from tools.published_figures import PublishedShape, bootstrap_growth, read_shapes

SITES = {"embedding_output": 1.0, "final_layernorm": 100.0}
HEAD = "version: 1\nprotocol: paper\nheadroom: 1.25\n\nmargins:\nfamilies: {}\n"
FIGURES = {
    "tiny": {"hidden": [10.0, 400.0], "attn_output": [8.0, 8.0], "mlp_output": [4.0, 200.0], "mlp_gate": [6.0, 6.0]},
    "tiny-it": {"hidden": [10.0, 500.0], "attn_output": [4.0, 8.0], "mlp_output": [6.0, 200.0], "mlp_gate": [6.0, 6.0]},
    "wide": {"hidden": [100.0, 800.0], "attn_output": [8.0, 8.0], "mlp_output": [4.0, 9.0], "mlp_gate": [6.0, 9.0]},
}
"""By checkpoint, site and layer; one more layer of each is none that the config counts."""


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tables of two shapes of one family, of which one has two checkpoints."""
    checkpoints, layers = [], []
    for name, sites in FIGURES.items():
        for site, figures in {**{site: [figure] for site, figure in SITES.items()}, **sites}.items():
            whole = site not in SITES
            for layer, figure in enumerate([*figures, 9_999.0] if whole else figures):
                layers.append({
                    "model": name, "site": site, "layer": layer if whole else "", "max_abs": figure,
                    "abs_median": "" if site == "mlp_gate" else figure / 128,
                })  # fmt: skip
        checkpoints.append({
            "model": name, "model_type": "ours", "layers": 2, "hidden_size": 16 if name == "wide" else 8,
            "global_max_abs": max(sites["hidden"]), "location": "layer_1_hidden", "max_embedding": 1.0,
            "max_hidden": max(sites["hidden"]), "max_attn_output": 8.0, "max_mlp_output": max(sites["mlp_output"]),
            "max_mlp_gate": max(sites["mlp_gate"]), "max_moe_gate": "", "max_final_norm": 100.0,
        })  # fmt: skip
    tables = {
        "checkpoints": checkpoints,
        "layers": layers,
        "int8": [
            {"model": "wide", "policy": "clip_q0.999", "sqnr_db": 1.0},
            {"model": "wide", "policy": "max_abs", "sqnr_db": 20.5},
        ],
        "bootstrap": [
            {"model": "tiny", "subset_size": 10, "global_max_abs": 320.0},
            {"model": "tiny", "subset_size": 20, "global_max_abs": 200.0},
        ],
    }
    for name, rows in tables.items():
        (tmp_path / f"{name}.csv").write_text(as_csv(rows), encoding="utf-8")
    return tmp_path


@pytest.fixture
def shapes(folder: Path) -> list[PublishedShape]:
    return read_shapes(folder)


def test_checkpoints_of_one_depth_and_width_are_a_shape_whose_layers_are_those_of_the_config(
    shapes: list[PublishedShape],
) -> None:
    assert [(shape.name, shape.hidden_size, len(shape.checkpoints)) for shape in shapes] == [
        ("tiny", 8, 2), ("wide", 16, 1)
    ]  # fmt: skip
    assert shapes[0].maxima("hidden") == {0: 10, 1: 500}, "the largest"
    assert shapes[0].medians("hidden") == {0: 10 / 128, 1: 400 / 128}, "the smallest"
    assert shapes[0].checkpoints[0].carrier == "layers.1.hidden"


def test_growth_is_that_from_the_smallest_subsets(folder: Path, shapes: list[PublishedShape]) -> None:
    assert bootstrap_growth(folder, shapes) == 400 / 320


def test_the_factors_are_those_that_let_every_checkpoint_pass_that_was_left_out(shapes: list[PublishedShape]) -> None:
    evidence = evidence_of(shapes, growth=1.1)
    assert evidence.spread == {"hidden": 1.25, "attn_output": 2.0, "mlp_output": 1.0, "gate": 1.0}
    assert evidence.small_spread == {"hidden": 1.0, "mlp_output": 1.5}, "4 beside 200, 10 beside 400"
    assert evidence.fall["attn_output"] == 2.0
    assert evidence.fall["mlp_output"] == 1.5
    assert evidence.family_fall == 10.0, "hidden of layer 0: 10 and 100"
    smallest = smallest_layers(shapes)
    assert smallest == {"embedding": 1, "hidden": 10, "attn_output": 8, "mlp_output": 4, "gate": 6}
    margins = margins_of(evidence, smallest)
    assert margins.headroom == {
        "hidden": 1.4, "attn_output": 2.2, "mlp_output": 1.25, "gate": 1.25, "router": 1.25
    }  # fmt: skip
    assert margins.small_headroom == {"mlp_output": 1.7}
    assert margins.least["attn_output"] == rounded_up(2.0 * 1.1 * 4)
    assert margins.least_median["attn_output"] == 4.0
    assert margins.envelope_least == dict.fromkeys(smallest, 10.0)
    assert exceeding(list(left_out(shapes)), margins) == []
    assert any(
        "limits from all others of its shape: 0 of 20 figures exceed" in line for line in report(shapes, margins)
    )


def test_what_is_written_is_a_limits_file_that_keeps_what_stands_above(shapes: list[PublishedShape]) -> None:
    text = written(HEAD, shapes, growth=1.1)
    assert text.startswith("version: 1\nprotocol: paper\nheadroom: 1.25\n\nmargins:")
    assert written(text, shapes, growth=1.1) == text
    (file,) = parse_limits(text, Path("ours.yaml"))
    tiny, wide = file.document.families["ours"].shapes
    assert (tiny.by_layer["hidden"], tiny.by_layer["mlp_output"]) == ("0=10 1=500", "0=6 1=200")
    assert (tiny.limits["hidden"], tiny.limits["gate"], tiny.limits["final_norm"]) == (500, 6, 100)
    assert tiny.medians["hidden"] == "0=0.078 1=3.1"
    assert (tiny.medians["embedding"], "gate" in tiny.medians) == (0.0078, False)
    assert [rule.sqnr_db for rule in wide.int8] == [20.5]
    assert tiny.int8 == []


def test_a_file_without_a_place_for_it_is_refused(shapes: list[PublishedShape]) -> None:
    with pytest.raises(SystemExit, match="no line 'margins:'"):
        written("version: 1\n", shapes, growth=1.1)


@pytest.mark.parametrize(
    "figures", [{0: 5.0}, {0: 1.0, 1: 1.0, 2: 2.0}, {0: 0.5, 2: 0.5, 3: 0.5, 9: 1e-05}, {7: 696320.0, 8: 696320.0}]
)
def test_runs_of_layers_read_back_as_they_were(figures: dict[int, float]) -> None:
    assert by_layer(in_runs(figures)) == figures


# The shipped file


def stated() -> dict[str, Any]:
    data: dict[str, Any] = yaml.load(builtin_path().read_text(encoding="utf-8"), yaml.CSafeLoader)
    return data


def test_the_shipped_margins_follow_from_the_evidence_beside_them() -> None:
    margins = stated()["margins"]
    derived = margins_of(Evidence(**margins["evidence"]), margins["envelope_most"])
    assert {name: margins[name] for name in margins if name not in ("source", "evidence", "small")} == {
        name: getattr(derived, name) for name in derived.__dataclass_fields__
    }


def test_the_shipped_evidence_of_families_follows_from_their_figures() -> None:
    """What concerns single checkpoints cannot, the file holds the largest of a shape's."""
    families = load_limits()[0].document.families
    evidence = stated()["margins"]["evidence"]

    def smallest(kind: str, key: str) -> list[list[float]]:
        found = [[getattr(shape, key).get(kind) for shape in family.shapes] for family in families.values()]
        return [
            [min(by_layer(figures).values()) if isinstance(figures, str) else figures for figures in family if figures]
            for family in found
        ]

    def fall(key: str, kinds: Sequence[str]) -> float:
        told = [family for kind in kinds for family in smallest(kind, key)]
        return max(
            min(family[:i] + family[i + 1 :]) / own
            for family in told
            if len(family) > 1
            for i, own in enumerate(family)
        )

    layered = ["hidden", "attn_output", "mlp_output", "gate", "router"]
    assert rounded_up(fall("by_layer", layered), 5) == evidence["family_fall"]
    assert fall("medians", [*layered, "embedding", "final_norm"]) == pytest.approx(
        evidence["family_median_fall"], rel=0.1
    ), "medians are written with two digits"
    usual = stated()["margins"]["envelope_most"]
    for kind in layered:
        ordered = sorted(min(family) for family in smallest(kind, "by_layer") if family)
        assert usual[kind] == ordered[(len(ordered) - 1) // 2]
    assert set(usual) == {*layered, *NO_LAYERS} - set(UNTOLD)


def test_the_shipped_figure_of_a_kind_is_the_largest_of_its_layers() -> None:
    for family in load_limits()[0].document.families.values():
        for shape in family.shapes:
            for kind, runs in shape.by_layer.items():
                figures = by_layer(runs)
                if kind in shape.limits:
                    assert max(figures.values()) == shape.limits[kind], (shape.name, kind)
                    assert list(figures) == list(range(shape.layers))
