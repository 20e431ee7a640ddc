"""Records become figures and margins that cover what was seen; what is no evidence is refused; CI accepts nothing."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.cli.main import main
from pytest_maxact.errors import InputError
from pytest_maxact.judge.suggest.evidence import gather, margin, rounded_down, rounded_up
from pytest_maxact.judge.suggest.propose import propose
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.record.comparability import Origin
from pytest_maxact.record.file import load, save
from pytest_maxact.record.record import Record
from pytest_maxact.report.data.suggest import proposal_data
from pytest_maxact.report.terminal.suggest import closing
from pytest_maxact.settings.settings import Settings
from tests.support.metrics import value_of
from tests.support.paths import TRAINED
from tests.support.records import Measured, record, record_of, seen

FIXTURE = TRAINED


@pytest.fixture(autouse=True)
def workstation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


# Figures


@given(st.floats(min_value=1e-30, max_value=1e38), st.integers(2, 8))
def test_a_figure_is_rounded_away_from_what_was_accepted(value: float, digits: int) -> None:
    assert value <= rounded_up(value, digits) <= value * (1 + 10.0 ** (1 - digits) * 1.001)
    assert value >= rounded_down(value, digits)
    assert -rounded_up(value, digits) == rounded_down(-value, digits)


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [
        (17664.0, 17664, 17664),
        (0.30078125, 0.300782, 0.300781),
        (1234567.0, 1234570, 1234560),
        (31.40741, 31.4075, 31.4074),
    ],
)
def test_figures_have_six_digits(value: float, up: float, down: float) -> None:
    assert (rounded_up(value), rounded_down(value)) == (up, down)
    assert isinstance(rounded_up(17664.0), int), "a whole number is written as one"


def test_a_figure_is_the_largest_over_layers_and_records() -> None:
    (evidence,) = gather([seen(8.0), seen(12.0), seen(10.0)])
    assert evidence.kinds == ["embedding", "hidden", "gate", "final_norm"]
    assert {kind: evidence.figure(evidence.of_kind(kind)) for kind in evidence.kinds} == {
        "embedding": 1, "hidden": 12, "gate": 2.5, "final_norm": 3,
    }  # fmt: skip
    assert evidence.figure(["layers.0.hidden"]) == 2
    assert evidence.maxima["layers.1.hidden"] == (8.0, 12.0, 10.0)


def test_the_spread_is_largest_over_smallest_of_the_records_maxima() -> None:
    (evidence,) = gather([seen(8.0), seen(12.0), seen(10.0)])
    assert evidence.spread(evidence.of_kind("hidden")) == 1.5
    assert evidence.spread(evidence.of_kind("gate")) == 1.0
    (alone,) = gather([seen()])
    assert alone.spread(alone.of_kind("hidden")) == 1.0


def test_the_spread_of_a_site_may_be_larger_than_that_of_its_kind() -> None:
    (evidence,) = gather([seen(8.0, first=1.0), seen(8.0, first=4.0)])
    assert evidence.spread(evidence.of_kind("hidden")) == 1.0
    assert evidence.spread(["layers.0.hidden"]) == 4.0


@pytest.mark.parametrize(("spread", "headroom"), [(1.0, 1.25), (1.25, 1.25), (1.5, 1.5), (1.50001, 1.501), (7.0, 7)])
def test_a_margin_covers_the_spread_and_keeps_the_files_headroom(spread: float, headroom: float) -> None:
    assert margin(1.25, spread) == headroom


def test_int8_takes_the_lowest_sqnr_and_its_spread_as_a_factor() -> None:
    records = [seen(8.0), seen(64.0)]
    found = [value_of(one.carrier, "int8.max_abs.sqnr_db") for one in records]
    (evidence,) = gather(records)
    assert evidence.sqnr_db == tuple(found)
    assert evidence.sqnr_figure is not None
    assert min(found) - 1e-3 < evidence.sqnr_figure <= min(found)
    assert 20 * math.log10(evidence.sqnr_spread) == pytest.approx(max(found) - min(found))


def test_an_sqnr_that_is_not_finite_is_no_figure() -> None:
    (lossless,) = gather([record({"layers.0.hidden": [[127.0, 1.0]]})])
    assert (lossless.sqnr_db, lossless.sqnr_figure, lossless.sqnr_spread) == ((), None, 1.0)
    (uncalibrated,) = gather([record_of([Measured(id="s", values={"layers.0.hidden": [[127.0, 1.3125]]})])])
    assert uncalibrated.sqnr_figure is None


def test_inputs_of_linear_layers_are_not_proposed_for() -> None:
    (evidence,) = gather([seen(kind="qkv_in")])
    assert evidence.kinds == ["embedding", "hidden", "final_norm"]


def test_records_of_several_shapes_are_evidence_apart() -> None:
    one, other = gather([seen(), seen(hidden_size=8), seen(16.0)])[:2]
    assert (one.records, other.records) == (2, 1)
    assert (one.identity.hidden_size, other.identity.hidden_size) == (4, 8)


def test_checkpoints_are_named_without_the_folders_of_a_machine() -> None:
    models = ["org/name", "/home/me/models/step-900/", "C:\\models\\win", "plain", "org/name"]
    (evidence,) = gather([seen(model=model) for model in models])
    assert evidence.checkpoints == ("name", "step-900", "win", "plain")


def test_the_source_says_how_many_records_and_what_they_were_measured_on() -> None:
    digest = seen().provenance.corpus_sha256[:12]
    one, two = gather([seen()])[0], gather([seen(8.0), seen(12.0)])[0]
    assert one.source == "1 Record, no spread seen"
    assert two.source == "2 Records, spread up to x1.5"
    assert one.measured == two.measured == Origin(corpus="built-in", sha256=digest, tokens=2, dtype="bfloat16")


# What is no evidence


def refusal(records: list[Record]) -> str:
    with pytest.raises(InputError) as caught:
        gather(records)
    return str(caught.value)


def test_no_records_are_no_evidence() -> None:
    assert refusal([]) == "limits need evidence: no Record was given\n  write one with `save` FILE"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_record_with_non_finite_entries_is_no_evidence(bad: float) -> None:
    broken = record({"layers.0.hidden": [[1.0, 2.0]], "layers.1.gate": [[1.0, bad]]}, model="broken")
    text = (
        "broken is no evidence for a limit: layers.1.gate has 2 entries that are NaN or infinite\n"
        "  give Records of sound checkpoints"
    )
    assert refusal([seen(), broken]) == text


def test_a_residual_stream_of_zeros_is_no_evidence() -> None:
    dead = record({"layers.0.hidden": [[1.0, 2.0]], "layers.1.hidden": [[0.0, 0.0]]}, model="dead")
    assert refusal([dead]).startswith("dead is no evidence for a limit: every entry of layers.1.hidden is zero\n")


def test_a_kind_that_is_zero_throughout_is_no_evidence() -> None:
    dead = record({"layers.0.hidden": [[1.0, 2.0]], "layers.0.gate": [[0.0]], "layers.1.gate": [[0.0]]}, model="dead")
    assert refusal([dead]).startswith("dead is no evidence for a limit: every gate is zero throughout\n")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("corpus_sha256", "x"),
        ("tokenizer_sha256", "x"),
        ("protocol", "deployed"),
        ("dtype", "float32"),
        ("max_seq_len", 64),
    ],
)
def test_records_that_were_not_measured_alike_are_refused_with_the_field(field: str, value: Any) -> None:
    text = refusal([seen(model="a"), seen(model="b", **{field: value})])
    assert text.startswith(f"a (there) and b (here) were not measured alike; they differ in {field} (")
    assert f" there, {value} here)\n" in text


def test_records_of_other_metric_versions_or_sites_are_refused() -> None:
    other = Record(provenance=seen().provenance, sites=seen().sites, metric_version=1)
    assert "they differ in metric_version\n" in refusal([seen(), other])
    assert "they differ in sites\n" in refusal([seen(), seen(kind="router")])


def test_shapes_need_not_be_measured_alike() -> None:
    assert len(gather([seen(), seen(hidden_size=8, tokenizer_sha256="x")])) == 2


# The command


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, hidden in zip(paths, (8.0, 12.0), strict=True):
        save(seen(hidden, model=f"org/{path.name}"), path)
    return [str(path) for path in paths]


def test_suggest_prints_a_diff_and_the_command_that_writes_it(
    two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suggest", *two]) == 0
    out, err = capsys.readouterr()
    assert out == propose([load(path) for path in two], None, mode="all").diff()
    assert "+        headroom: {hidden: 1.5" in out
    assert err == f"to write this: maxact suggest {two[0]} {two[1]} --limits FILE --update all\n"


def test_suggest_writes_what_it_printed(two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = tmp_path / "mine.yaml"
    assert main(["suggest", *two, "--limits", str(limits), "--per-layer"]) == 0
    printed, err = capsys.readouterr()
    assert not limits.exists()
    assert err.endswith(f"--limits {limits} --per-layer --update all\n")
    assert main(["suggest", *two, "--limits", str(limits), "--per-layer", "--update", "all"]) == 0
    out, err = capsys.readouterr()
    assert out == printed
    assert err == f"{limits}: written; review it, and commit it\n"
    assert main(["judge", two[0], "--limits", str(limits)]) == 0
    capsys.readouterr()
    assert main(["suggest", *two, "--limits", str(limits), "--update", "all"]) == 0
    assert capsys.readouterr() == ("", f"{limits}: nothing to change\n")


def test_suggest_as_json_is_for_a_program(two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest", *two, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == proposal_data(propose([load(path) for path in two], None, mode="all"))
    assert (data["limits"], data["changed"], data["notes"]) == (None, True, [])
    assert data["evidence"][0]["max_abs"]["layers.1.hidden"] == [8.0, 12.0]
    assert data["evidence"][0]["checkpoints"] == ["a", "b"]


def test_what_stays_as_it_is_is_said(two: list[str], tmp_path: Path) -> None:
    limits = tmp_path / "mine.yaml"
    limits.write_text(
        "version: 1\nextends: builtin\nfamilies:\n  qwen3:\n    layers: {layers.0.hidden: {hidden: 90}}\n"
    )
    proposal = propose([load(two[0])], limits, mode="all")
    said = list(closing(proposal, [two[0]], per_layer=False, written=False))
    assert said[0] == "left: families.qwen3.layers 'layers.0.hidden' stays as it is, and holds at 1 of the sites"


def test_update_needs_a_file(two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest", *two, "--update", "all"]) == 4
    assert capsys.readouterr().err == "maxact: --update writes limits, and --limits FILE says where; give both\n"


def test_suggest_is_refused_in_ci_also_when_it_only_prints(
    two: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    assert main(["suggest", *two]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("maxact: maxact suggest is refused in CI (CI=true)")


def test_suggest_imports_no_torch(two: list[str]) -> None:
    code = "import sys; from pytest_maxact.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, "suggest", *two], check=True, capture_output=True)


def test_from_a_real_checkpoint_to_limits_that_it_passes_and_a_tighter_file_that_it_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = []
    for name in ("qwen3-tiny", "qwen3-tiny-steps/step-900"):
        settings = Settings(model=str(FIXTURE.parent / name), max_samples=20, max_seq_len=256)
        path = tmp_path / f"{name.rpartition('/')[2]}.record"
        save(measure(prepare(settings), settings, None), path)
        saved.append(str(path))
    limits = tmp_path / "mine.yaml"
    assert main(["suggest", saved[0], "--limits", str(limits), "--update", "new"]) == 0
    capsys.readouterr()
    assert main(["judge", saved[0], "--limits", str(limits)]) == 0
    assert "shape qwen3-tiny (mine.yaml, thresholds.yaml)" in capsys.readouterr().out
    written = limits.read_text()
    figure = rounded_up(max(r.max_abs for r in load(saved[0]).sites.values() if r.site.kind == "hidden"))
    assert f"hidden: {figure}" in written
    limits.write_text(written.replace(f"hidden: {figure}", f"hidden: {figure / 1.3}"))
    assert main(["judge", saved[0], "--limits", str(limits)]) == 1
    capsys.readouterr()
    assert main(["suggest", *saved, "--limits", str(limits), "--update", "all"]) == 4
    assert "would not pass" in capsys.readouterr().err
    assert main(["suggest", *saved, "--limits", str(limits), "--update", "all", "--loosen"]) == 0
    assert "LOOSENED: hidden" in capsys.readouterr().out
    for path in saved:
        assert main(["judge", path, "--limits", str(limits)]) == 0
    assert "checkpoints: [qwen3-tiny, step-900]" in limits.read_text()
    assert np.isfinite(load(saved[1]).carrier.max_abs)
