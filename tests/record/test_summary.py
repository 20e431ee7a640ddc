"""A slim Record says what the full one says, in a small part of its space, and refuses what it dropped instead of
calling it small.
"""

import json
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.compare.comparison import compare
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import Ruleset, select_rules, with_fitness
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.document import document_of
from pytest_maxact.record.file import load, save
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.metrics.smoothing import smoothing_gain
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from pytest_maxact.record.table import table
from pytest_maxact.report.data.compare import comparison_data
from pytest_maxact.report.terminal.compare import render_comparison
from pytest_maxact.report.terminal.screen import Screen
from tests.support import records
from tests.support.failing import failing
from tests.support.headed import headed
from tests.support.large import large_record
from tests.support.measuring import record_of
from tests.support.metrics import value_of
from tests.support.reports import data_of, report_of, untrusted
from tests.support.samples import measured
from tests.support.written import written_and_read

SCHEMES = ("W8A8", "W8A8_STATIC", "FP8", "NVFP4", "W4A16", "FP16", "BF16")
QUANTITIES = ("threshold", "sqnr_db", "rel_rmse", "rel_mae", "clip_rate", "flush_to_zero", "levels_used")


def with_routers() -> Record:
    """Two layers of eight experts, one of which nobody reached."""
    values = {
        "embedding": [[1.0, 2.0]],
        "layers.0.hidden": [[3.0, 4.0]],
        "layers.0.router": [[0.5, 0.25]],
        "final_norm": [[1.0, 1.0]],
    }
    whole = records.record(values)
    return replace(
        whole,
        sites={**whole.sites, "layers.0.router": replace(whole["layers.0.router"], tokens_per_expert=(3, 0, 2, 5))},
    )


def rounded() -> Record:
    """float32 sites: exact peaks beside histograms rounded to bfloat16."""
    whole = records.record(
        {"embedding": [[1.0, 2.0]], "layers.0.hidden": [[-1000.0, 4.0]], "final_norm": [[1.0, 1.0]]}, schemes=("FP16",)
    )
    exact = Peak(value=-1000.123, sample="s0", position=0, token="t", token_id=1, channel=0)
    return replace(
        whole, sites={name: replace(reading, dtype="float32", peaks=(exact,)) for name, reading in whole.sites.items()}
    )


MADE: Mapping[str, Callable[[], Record]] = {
    "non-finite sites": lambda: records.record_of(measured(6)),
    "routers": with_routers,
    "float32": rounded,
    "failing schemes": failing,
    "one split": lambda: records.record_of([sample for sample in measured(6) if sample.split == "calibration"]),
}


@pytest.fixture(scope="module", params=["bf16", "fp32"])
def deployed(request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A random Qwen3 with a head under schemes, with the effect of one."""
    return record_of(
        headed(tmp_path_factory.mktemp("headed")), corpus, schemes=SCHEMES, effect=("W8A8",), dtype=request.param
    )


@pytest.fixture(scope="module", params=MADE)
def made(request: pytest.FixtureRequest) -> Record:
    return MADE[request.param]()


def saved_and_loaded(record: Record, path: Path) -> Record:
    save(record, path)
    return load(path)


def both(record: Record, folder: Path, *metrics: str) -> tuple[Record, Record]:
    """The full Record and its slim form, each from its file."""
    return saved_and_loaded(record, folder / "full"), saved_and_loaded(summary(record, metrics), folder / "slim")


def rules_of(record: Record, family: str | None = None) -> Ruleset:
    files, sites = load_limits(), [reading.site for reading in record.sites.values()]
    schemes = record.provenance.schemes
    rules = select_rules(files, identity_of(record.provenance), sites, family)
    return with_fitness(
        rules, files, sites, checked=(), reported=schemes, predicts=record.provenance.predicts, effects=record.effects
    )  # fmt: skip


def assert_alike(full: Record, slim: Record) -> None:
    assert slim.is_summary
    assert not full.is_summary
    for record_rules in (rules_of(full), rules_of(full, "generic"), None):
        (report, *ours), (slim_report, *theirs) = (told_of(record, record_rules) for record in (full, slim))
        assert ours == theirs
        assert untrusted(report) == untrusted(slim_report)
        if "\nmodel " in f"\n{report}":
            assert "keeps nothing of single samples" in slim_report
    assert str(table(full)) == str(table(slim))
    ours, theirs = data_of(full), data_of(slim)
    for data, is_slim in ((ours, False), (theirs, True)):
        assert data.pop("slim") is is_slim
        for site in data["sites"].values():
            site["top"] = site["top"][:1]
            del site["weights"]
    assert json.dumps(ours) == json.dumps(theirs)
    plain = comparison_data(compare(full, full))
    for change in plain["sites"].values():
        change["shift"] = None
    for before, after in ((slim, slim), (slim, full), (full, slim)):
        comparison = compare(before, after)
        assert str(comparison_data(comparison)) == str(plain)
        text = render_comparison(comparison, Screen())
        assert "no distribution shifted" not in text
        assert "slim Records keep no distributions to compare" in " ".join(text.split())


def told_of(record: Record, rules: Ruleset | None) -> list[str]:
    """The whole report and every finding's message, or why there is no verdict."""
    try:
        findings = judge(record, rules.limits) if rules else []
    except MeasureError as error:
        return [str(error)]
    words = [f"{finding.message} {finding.value} {finding.passed} {finding.usage}" for finding in findings]
    return [report_of(record, rules, findings, width=100), *words]


# What it says


def test_a_measured_record_and_its_slim_form_say_the_same(deployed: Record, tmp_path: Path) -> None:
    assert_alike(*both(deployed, tmp_path))


def test_records_of_every_kind_and_their_slim_forms_say_the_same(made: Record) -> None:
    assert_alike(written_and_read(made), written_and_read(summary(made)))


def test_advice_and_the_reason_of_a_weight_are_among_what_is_said_alike() -> None:
    """So that the comparison of reports above compares something."""
    for record in (failing(), summary(failing())):
        text = " ".join(told_of(record, rules_of(record, "generic"))[0].split())
        assert (
            "smoothing (alpha 0.5) would bring the largest channel 33 dB nearer to the median one at layers.0.qkv_in"
            in text
        )
        assert "layers.1.qkv_in.weight (4 is no multiple of its groups of 128)" in text


def test_every_figure_that_is_kept_is_the_same_number(deployed: Record, tmp_path: Path) -> None:
    full, slim = both(deployed, tmp_path, "int4.clip_q0.99.sqnr_db", "quantile.0.25")
    names = [
        "max_abs",
        "nonfinite",
        "rms",
        "quantile.0.25",
        *(f"quantile.{q}" for q in (0.5, 0.99, 0.999)),
        "FP16.headroom",
    ]
    names += [
        f"int8.{policy}.{quantity}"
        for policy in ("max_abs", "clip_q0.999", "clip_q.9990", "optimal")
        for quantity in QUANTITIES
    ]
    names += [f"int4.clip_q0.99.{quantity}" for quantity in QUANTITIES]
    names += [
        f"{scheme}.{quantity}"
        for scheme in SCHEMES
        if scheme != "W4A16"
        for quantity in ("sqnr_db", "token_low_db", "levels_used", "tokens")
    ]
    names += [f"{scheme}.weight_sqnr_db" for scheme in SCHEMES]
    for name in full.sites:
        for metric in names:
            assert outcome(full, name, metric) == outcome(slim, name, metric), (name, metric)


def outcome(record: Record, site: str, metric: str) -> str:
    try:
        return repr(value_of(record[site], metric))
    except MeasureError as error:
        return str(error)


def test_a_site_that_is_not_finite_passes_no_more_than_before() -> None:
    slim = summary(records.record_of(measured(6)))
    gate = slim["layers.0.gate"]
    assert (gate.nonfinite, gate.max_abs, value_of(gate, "rms"), value_of(gate, "quantile.0.5")) == (
        2,
        *[math.inf] * 3,
    )
    assert math.isnan(value_of(gate, "int8.max_abs.sqnr_db"))
    assert math.isfinite(gate.held.figures["rms"]), "of the finite entries, as the report for programs has it"


def test_what_smoothing_would_gain_is_kept_without_the_channels() -> None:
    full, slim = failing(), summary(failing())
    gains = [smoothing_gain(full[name]) for name in full.sites]
    assert [smoothing_gain(slim[name]) for name in full.sites] == gains
    assert max(gain for gain in gains if gain) > 30


def test_of_weights_the_worst_under_each_scheme_is_kept(deployed: Record) -> None:
    for name, reading in summary(deployed).sites.items():
        for scheme in SCHEMES:
            of_all = [errors[scheme] for errors in deployed[name].weights.values() if scheme in errors]
            kept = [errors[scheme] for errors in reading.weights.values() if scheme in errors]
            lowest, of_these = (sorted(error.lowest_db for error in errors)[:1] for errors in (of_all, kept))
            assert lowest == of_these
            most, of_these = (max(map(_flushed, errors), default=0.0) for errors in (of_all, kept))
            assert of_these == most
            assert len(kept) <= 2, "the worst by its error, and by what becomes zero"


def _flushed(error: WeightDistortion) -> float:
    """One that is no number is the worst."""
    return math.inf if error.flushed is None or math.isnan(error.flushed) else error.flushed


# What it is


def test_slim_of_slim_is_itself_and_comes_back_from_its_file(deployed: Record, made: Record) -> None:
    for record in (deployed, made):
        slim = summary(record)
        assert summary(slim) is slim
        loaded = written_and_read(slim)
        assert document_of(loaded) == document_of(slim)
        assert (loaded.provenance, list(loaded.sites), loaded.is_summary) == (slim.provenance, list(slim.sites), True)


def test_without_a_nan_among_its_figures_it_is_equal_to_what_was_saved() -> None:
    slim = summary(with_routers())
    assert written_and_read(slim) == slim != with_routers()
    assert slim != replace(slim, sites=with_routers().sites)


def test_it_survives_a_pickle() -> None:
    slim = summary(failing())
    assert str(data_of(pickle.loads(pickle.dumps(slim)))) == str(data_of(slim))


def test_an_edited_figure_is_refused(deployed: Record, tmp_path: Path) -> None:
    path = tmp_path / "slim"
    save(summary(deployed), path)
    content = path.read_bytes()
    place = content.index(b'\\"rms\\":') + len(b'\\"rms\\":')
    path.write_bytes(content[:place] + (b"1" if content[place : place + 1] != b"1" else b"2") + content[place + 1 :])
    with pytest.raises(InputError, match="contents do not match their checksum"):
        load(path)


def test_a_slim_record_of_64_layers_is_small(tmp_path: Path) -> None:
    """Six sites stand for all: what a site takes in the file does not hang on the others."""
    whole = large_record("bfloat16", ("hidden", "attn_output", "mlp_output", "gate"))
    save(whole, tmp_path / "full")
    some = list(summary(replace(whole, sites=dict(list(whole.sites.items())[:6]))).sites.values())
    held = {
        name: replace(some[index % len(some)], site=reading.site)
        for index, (name, reading) in enumerate(whole.sites.items())
    }
    save(replace(whole, sites=held), tmp_path / "slim")
    assert len(held) == 2 + 4 * 64
    assert (tmp_path / "slim").stat().st_size < 1_500_000 < (tmp_path / "full").stat().st_size
