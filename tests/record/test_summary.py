"""A slim Record says what the full one says, in a small part of its space, and refuses what it dropped instead of
calling it small.
"""

import json
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.compare.comparison import compare
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset, select_rules, with_fitness
from pytest_maxact.judge.verdict.check import check, judge
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.record.export import smoothquant, static_scales
from pytest_maxact.record.file import load, save
from pytest_maxact.record.held import Summary
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.merge import merge
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.record.metrics.smoothing import smoothing_gain
from pytest_maxact.record.reading import distributions_of
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from pytest_maxact.record.table import table
from pytest_maxact.report.data.compare import comparison_data
from pytest_maxact.report.terminal.compare import render_comparison
from pytest_maxact.report.terminal.screen import Screen
from tests.support import fitness, records
from tests.support.headed import headed
from tests.support.large import large_record
from tests.support.measuring import record_of
from tests.support.metrics import value_of
from tests.support.reports import data_of, report_of
from tests.support.samples import measured

SCHEMES = ("W8A8", "W8A8_STATIC", "FP8", "NVFP4", "W4A16", "FP16", "BF16")
QUANTITIES = ("threshold", "sqnr_db", "rel_rmse", "rel_mae", "clip_rate", "flush_to_zero", "levels_used")
SLIM = "the Record is slim and does not hold"
AGAIN = "\n  measure again without `slim`"


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


def failing() -> Record:
    """Linear inputs that miss their limits, a weight without a figure, channels that smoothing would calm, and an
    effect.
    """
    worst = {name: fitness.sums(9.0, flushed=0.75) for name in fitness.SITES[:3]}
    bad = {fitness.SITES[4]: fitness.weight(math.nan, refused="4 is no multiple of its groups of 128")}
    whole = fitness.measured(
        worst=worst, weights=bad, effects={"W8A8": fitness.effect("W8A8", math.nan)}, predicts=True
    )
    loud = Channels({"a": np.array([0.5, 0.5, 0.5, 900.0], np.float32), "b": np.ones(4, np.float32)})
    return replace(
        whole,
        sites={
            name: records.holding(r, channels=loud) if distributions_of(r).channels else r
            for name, r in whole.sites.items()
        },
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
        told = [told_of(record, record_rules) for record in (full, slim)]
        assert told[0] == told[1]
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


def test_records_of_every_kind_and_their_slim_forms_say_the_same(made: Record, tmp_path: Path) -> None:
    assert_alike(*both(made, tmp_path))


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
            of_all = [errors[scheme].lowest_db for errors in deployed[name].weights.values() if scheme in errors]
            kept = [errors[scheme].lowest_db for errors in reading.weights.values() if scheme in errors]
            assert kept == sorted(of_all)[:1]


# What it is


def test_slim_of_slim_is_itself_and_comes_back_from_its_file(deployed: Record, made: Record, tmp_path: Path) -> None:
    for record in (deployed, made):
        slim = summary(record)
        assert summary(slim) is slim
        loaded = saved_and_loaded(slim, tmp_path / "slim")
        save(loaded, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "slim").read_bytes()
        assert (loaded.provenance, list(loaded.sites), loaded.is_summary) == (slim.provenance, list(slim.sites), True)


def test_without_a_nan_among_its_figures_it_is_equal_to_what_was_saved(tmp_path: Path) -> None:
    slim = summary(with_routers())
    assert saved_and_loaded(slim, tmp_path / "slim") == slim != with_routers()
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
    assert load(tmp_path / "slim").is_summary
    assert len(held) == 2 + 4 * 64
    assert (tmp_path / "slim").stat().st_size < 1_500_000 < (tmp_path / "full").stat().st_size


# What it refuses


@pytest.mark.parametrize(
    "metric",
    [
        "quantile.0.9",
        "int4.max_abs.sqnr_db",
        "int8.clip_q0.5.clip_rate",
        "int4.optimal.sqnr_db",
        "FP16.sqnr_db",
        "BF16.flush_to_zero",
    ],
)
def test_a_figure_that_was_not_kept_is_refused_by_its_name(metric: str) -> None:
    full = records.record({"embedding": [[1.0, 2.0]], "layers.0.hidden": [[3.0, 4.0]]})
    value_of(full["layers.0.hidden"], metric)
    with pytest.raises(InputError, match=SLIM) as refused:
        value_of(summary(full)["layers.0.hidden"], metric)
    assert metric.rpartition(".")[0 if "quantile" not in metric else 2] in str(refused.value)
    assert "layers.0.hidden" + AGAIN in str(refused.value)
    with pytest.raises(InputError, match=SLIM):
        check(
            summary(full),
            Limit(
                site="carrier", metric=Metric.parse(metric), bound=1e9, sense="max", rule="", source="", file="", line=0
            ),
        )
    with pytest.raises(InputError, match=SLIM):
        summary(summary(full), [metric])
    kept = summary(full, [metric])
    assert repr(value_of(kept["embedding"], metric)) == repr(value_of(full["embedding"], metric))
    assert summary(kept, [metric]) is kept


@pytest.mark.parametrize(
    "metric",
    ["quantile.1.5", "int8.median.sqnr_db", "int99.max_abs.sqnr_db", "int8.clip_qx.sqnr_db", "W8A8.speed", "depth"],
)
def test_a_name_that_means_nothing_is_called_so_and_not_dropped(metric: str) -> None:
    full = records.record({"embedding": [[1.0, 2.0]]})
    for refused in (
        lambda: value_of(summary(full)["embedding"], metric),
        lambda: value_of(full["embedding"], metric),
        lambda: summary(full, [metric]),
    ):
        with pytest.raises(InputError, match="no metric called"):
            refused()


def test_a_scheme_that_was_not_measured_is_named_as_ever() -> None:
    full = fitness.measured("W8A8")
    for record in (full, summary(full, ["FP8.sqnr_db", "W8A8.mean_kl"])):
        with pytest.raises(MeasureError, match="holds nothing of scheme FP8 there"):
            value_of(record[fitness.SITES[0]], "FP8.sqnr_db")


def test_nothing_that_was_dropped_reads_as_empty() -> None:
    reading = summary(failing())[fitness.SITES[0]]
    assert isinstance(reading.held, Summary)
    assert reading.held.has_channels
    for dropped in (
        lambda: reading.histogram,
        lambda: reading.calibration.max_abs,
        lambda: reading.evaluation.quantile(0.5),
        lambda: reading.calibration.rms,
        lambda: reading.calibration.above(0.1),
        lambda: reading.evaluation.dense(),
        lambda: distributions_of(reading).channels,
        lambda: distributions_of(reading).schemes,
    ):
        with pytest.raises(InputError, match=SLIM):
            dropped()
    assert reading.count == failing()[fitness.SITES[0]].count > 0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["slim first", "slim last"])
def test_slim_records_do_not_merge(order: tuple[int, int]) -> None:
    samples = measured(6)
    parts = [summary(records.record_of(samples[:3])), records.record_of(samples[3:])]
    with pytest.raises(
        InputError, match="a slim Record holds no histograms that add up\n  merge Records that were measured without"
    ):
        merge(parts[place] for place in order)
    with pytest.raises(InputError, match=SLIM):
        parts[order[0]]["embedding"] + parts[order[1]]["embedding"]


def test_slim_records_are_not_exported() -> None:
    slim = summary(failing())
    for exported in (lambda: smoothquant(slim), lambda: static_scales(slim, "FP8")):
        with pytest.raises(
            InputError, match="this Record is slim and does not hold the maxima of channels, which are exported" + AGAIN
        ):
            exported()


# The options


def test_measure_slim_writes_what_show_prints_like_the_full_one(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for path, flags in ((tmp_path / "full", []), (tmp_path / "slim", ["--slim"])):
        assert (
            main(["measure", str(checkpoint), "-o", str(path), "--corpus", str(corpus), "--sites", "deploy", *flags])
            == 0
        )
        assert load(path).is_summary == bool(flags)
        capsys.readouterr()
        assert (main(["show", str(path)]), main(["judge", str(path)])) == (0, 0)
        printed.append(capsys.readouterr().out.replace(str(path), "RECORD"))
    assert printed[0] == printed[1]
    assert main(["merge", str(tmp_path / "slim"), "-o", str(tmp_path / "whole")]) == 4
    assert "without --slim" in capsys.readouterr().err


def test_a_gate_saves_the_slim_form_with_what_its_limits_name(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.path.joinpath("own.yaml").write_text(
        "version: 1\n"
        "extends: builtin\n"
        "families:\n"
        "  qwen3: {int8: {site: carrier, policy: clip_q0.75, max_clip_rate: 1}}\n"
    )
    run = [
        f"--maxact-model={checkpoint}",
        f"--maxact-corpus={corpus}",
        "--maxact-limits=own.yaml",
        "--maxact-save=r",
        "--maxact-slim",
    ]
    assert pytester.runpytest(*run).ret == 0
    slim = load(pytester.path / "r")
    assert slim.is_summary
    assert 0 < value_of(slim.carrier, "int8.clip_q0.75.clip_rate") < 1
    assert pytester.runpytest("--maxact-replay=r", "--maxact-limits=own.yaml").ret == 0
    pytester.path.joinpath("own.yaml").write_text(
        "version: 1\n"
        "extends: builtin\n"
        "families:\n"
        "  qwen3: {int8: {site: carrier, policy: clip_q0.25, max_clip_rate: 1}}\n"
    )
    result = pytester.runpytest("--maxact-replay=r", "--maxact-limits=own.yaml")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*the Record is slim and does not hold the error of int8.clip_q0.25 at *",
            "*measure again without --maxact-slim*",
        ]
    )
