"""A metric's name is parsed once: its parts are those that were written, and what means nothing is refused."""

import pickle

import pytest
from pydantic import TypeAdapter

from pytest_maxact.errors import InputError
from pytest_maxact.record.metrics import metric as under_test
from pytest_maxact.record.metrics.metric import (
    GROWTH,
    INT8_SQNR,
    JUMP,
    MASSIVE,
    MAX_ABS,
    NONFINITE,
    RMS,
    SHIFT,
    SHRINK,
    UNREACHED,
    Kind,
    Metric,
    drop_of,
    scheme_metric,
)

PLAIN = (MAX_ABS, NONFINITE, RMS, UNREACHED, GROWTH, SHRINK, SHIFT, MASSIVE, JUMP)
NAMES = [
    *(metric.name for metric in PLAIN),
    *(
        "quantile.0.999",
        "quantile.1",
        "int8.max_abs.sqnr_db",
        "int4.clip_q.9990.clip_rate",
        "int16.optimal.levels_used",
    ),
    *(
        "W8A8.sqnr_db",
        "W4A16.weight_sqnr_db",
        "FP16.headroom",
        "FP16.score_headroom",
        "W8A8.mean_kl",
        "NVFP4.perplexity_ratio",
    ),
    *("int8.max_abs.sqnr_db.drop", "W8A8.weight_sqnr_db.drop", "max_abs.drop"),
]


@pytest.fixture(autouse=True)
def read_anew() -> None:
    """What was parsed when the program was imported is parsed once more."""
    under_test._parsed.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_as_it_was_written(name: str) -> None:
    metric = Metric.parse(name)
    assert (metric.name, str(metric), f"{metric}") == (name, name, name)
    assert Metric.parse(name) is metric
    assert pickle.loads(pickle.dumps(metric)) == metric


def test_metrics_are_equal_by_name_and_by_nothing_else() -> None:
    found = {Metric.parse(name) for name in NAMES}
    assert len(found) == len(NAMES)
    assert Metric.parse("quantile.0.5") != Metric.parse("quantile.0.50"), "as in the names of checks"
    assert MAX_ABS != "max_abs"


def test_a_plain_name_is_its_kind() -> None:
    assert [metric.kind for metric in PLAIN] == [
        *(Kind.MAX_ABS, Kind.NONFINITE, Kind.RMS, Kind.UNREACHED),
        *(Kind.GROWTH, Kind.SHRINK, Kind.SHIFT, Kind.MASSIVE, Kind.JUMP),
    ]


def test_an_integer_format_has_bits_policy_and_quantity() -> None:
    metric = Metric.parse("int4.clip_q0.99.rel_rmse")
    assert (metric.kind, metric.bits, metric.policy, metric.quantity) == (Kind.INTEGER, 4, "clip_q0.99", "rel_rmse")
    assert Metric.parse("quantile.0.999").q == 0.999


def test_a_scheme_is_judged_at_sites_and_in_predictions() -> None:
    metric = Metric.parse("W8A8.sqnr_db")
    assert (metric.kind, metric.scheme, metric.quantity) == (Kind.SCHEME, "W8A8", "sqnr_db")
    metric = Metric.parse("W8A8.mean_kl")
    assert (metric.kind, metric.scheme, metric.quantity) == (Kind.EFFECT, "W8A8", "mean_kl")
    assert scheme_metric("W8A8", "mean_kl") is metric
    metric = Metric.parse("FP16.score_headroom")
    assert (metric.kind, metric.scheme, metric.quantity) == (Kind.SCORES, "FP16", "score_headroom")
    metric = Metric.parse("FP16.headroom")
    assert (metric.kind, metric.scheme, metric.quantity) == (Kind.SCHEME, "FP16", "headroom")


def test_a_drop_is_of_a_metric_of_a_site() -> None:
    metric = drop_of(INT8_SQNR)
    assert (metric.kind, metric.name, metric.of) == (Kind.DROP, "int8.max_abs.sqnr_db.drop", INT8_SQNR)


@pytest.mark.parametrize(
    "name", ["growth.drop", "W8A8.mean_kl.drop", "max_abs.drop.drop", ".drop", "drop", "depth.drop"]
)
def test_a_drop_of_anything_else_is_refused(name: str) -> None:
    of = {"W8A8.mean_kl.drop": "W8A8.mean_kl", "growth.drop": "growth", "max_abs.drop.drop": "max_abs.drop"}
    told = of.get(name, name if name == "drop" else name.removesuffix(".drop"))
    with pytest.raises(InputError, match=f"^no metric called {told!r}"):
        Metric.parse(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("quantile.1.5", r": a quantile lies in \(0, 1\], not 1\.5"),
        ("quantile.nan", r": a quantile lies in \(0, 1\], not nan"),
        ("quantile.high", ": could not convert string to float: 'high'"),
        ("int1.max_abs.sqnr_db", ": integers have 2 to 16 bits here, not 1"),
        ("int8.minmax.sqnr_db", ": no clipping policy called 'minmax'; there are max_abs, optimal and clip_q<Q>"),
        ("int8.max_abs.snr", ""),
        ("W8A8.headroom", ": W8A8 has no 'headroom'"),
        ("W4A16.sqnr_db", ": W4A16 has no 'sqnr_db'"),
        ("FP16.speed", ": FP16 has no 'speed'"),
        ("BF16.score_headroom", ": BF16 has no 'score_headroom'"),
        ("max_abs ", ""),
        ("", ""),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason_and_what_there_is(name: str, why: str) -> None:
    with pytest.raises(InputError, match=f"no metric called {name!r}{why}\n  there are max_abs, nonfinite, rms, "):
        Metric.parse(name)


def test_only_integer_formats_need_both_splits() -> None:
    needing = {name for name in NAMES if Metric.parse(name).needs_both_splits}
    assert needing == {name for name in NAMES if name.startswith("int")}


def test_figures_of_weights_and_of_decibels_are_told_by_their_quantity() -> None:
    assert [name for name in NAMES if Metric.parse(name).is_of_weights] == ["W4A16.weight_sqnr_db"]
    assert [name for name in NAMES if Metric.parse(name).is_in_decibels] == [
        *("int8.max_abs.sqnr_db", "W8A8.sqnr_db", "W4A16.weight_sqnr_db")
    ]


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_goes_to_other_processes_as_text(kind: Kind) -> None:
    kinds: TypeAdapter[Kind] = TypeAdapter(Kind)
    assert kinds.validate_json(kinds.dump_json(kind)) is kind
    assert isinstance(kind.value, str)
    assert [other for other in Kind if other.value == kind.value] == [kind]
