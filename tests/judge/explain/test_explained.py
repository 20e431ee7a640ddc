"""Everything that a run may name is explained: what it is, its unit, how it is measured, what a breach means, and what
to do then.
"""

import pytest

from pytest_maxact.errors import InputError, neutral, worded
from pytest_maxact.judge.explain.entry import EXPECTED, EXPORT, GROUPS, NEVER_WAIVED, NEW_FAMILY, WAIVE, Entry
from pytest_maxact.judge.explain.lookup import every, explain
from pytest_maxact.judge.explain.metrics import METRICS
from pytest_maxact.judge.explain.quantities import QUANTITIES
from pytest_maxact.judge.explain.schemes import schemes
from pytest_maxact.judge.explain.sites import SITES
from pytest_maxact.judge.limits.behaviour import with_behaviour
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import CARRIER, MODEL, PREDICTIONS
from pytest_maxact.judge.limits.rules import select_rules, with_baseline, with_fitness
from pytest_maxact.judge.limits.weights import WEIGHTS
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import KINDS, LINEAR_KINDS, Site
from pytest_maxact.record.effect import EFFECTS
from pytest_maxact.record.metrics.distortion import FORMAT_QUANTITIES, SCHEME_QUANTITIES
from pytest_maxact.record.metrics.metric import CENTRED_SQNR, SCORE_HEADROOM, WEIGHT_FLUSH, WEIGHT_SQNR, Kind
from tests.support.limits import QWEN3
from tests.support.records import sites


def names(asked: str) -> list[str]:
    return [entry.name for entry in explain(asked)]


def answers(asked: str) -> dict[str, str]:
    return {cause: do for entry in explain(asked) for cause, do in entry.todo}


def refusal(asked: str) -> str:
    with pytest.raises(InputError) as caught:
        explain(asked)
    return str(caught.value)


def test_every_site_metric_quantity_and_scheme_has_its_text() -> None:
    assert SITES.keys() >= {*KINDS, CARRIER, MODEL, PREDICTIONS, WEIGHTS}
    assert METRICS.keys() == set(Kind)
    assert schemes().keys() == SCHEMES.keys()
    quantities = {
        *FORMAT_QUANTITIES,
        *SCHEME_QUANTITIES,
        *EFFECTS,
        WEIGHT_SQNR,
        WEIGHT_FLUSH,
        "headroom",
        CENTRED_SQNR,
        SCORE_HEADROOM,
    }
    assert QUANTITIES.keys() | {"perplexity"} == quantities


@pytest.mark.parametrize("entry", list(every()), ids=lambda entry: f"{entry.group}-{entry.name}")
def test_a_text_is_whole(entry: Entry) -> None:
    texts = [entry.what, entry.measured, entry.breach, *(do for _, do in entry.todo)]
    assert all(len(worded(text, neutral).strip()) > 9 for text in texts)
    assert entry.unit.strip()
    assert len(entry.todo) >= 2, "a breach has more than one cause"
    assert len({do for _, do in entry.todo}) == len(entry.todo)
    assert entry.group in GROUPS
    assert 10 < len(entry.brief) < 200


def test_no_two_schemes_are_told_alike() -> None:
    assert len({entry.what for entry in schemes().values()}) == len(SCHEMES)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in LINEAR_KINDS])
def test_a_breach_of_a_maximum_has_the_four_usual_answers(kind: str) -> None:
    assert {EXPORT, NEW_FAMILY, EXPECTED, WAIVE} <= set(explain(kind)[0].todo)


def test_every_check_that_a_run_may_have_is_explained_by_its_id() -> None:
    seen = [*sites(2), *(Site(kind=kind, layer=0) for kind in LINEAR_KINDS)]
    rules = select_rules(load_limits(), QWEN3, sites(36))
    rules = with_behaviour(rules, load_limits(), sites(36), predicted=True, probed=True)
    rules = with_fitness(rules, load_limits(), seen, checked=list(SCHEMES), reported=(), predicts=True)
    rules = with_baseline(rules, load_limits(), seen, list(SCHEMES), "old")
    assert len({limit.metric.kind for limit in rules.limits}) > 14
    for limit in rules.limits:
        found = explain(f"maxact::{limit.check}")
        assert found[0] is not None
        assert found[0].name == (limit.site.rpartition(".")[2])
        assert METRICS[limit.metric.kind].name in [entry.name for entry in found]


# How things are named


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("hidden", ["hidden"]),
        ("layers.3.hidden", ["hidden"]),
        ("layers.[0-2].gate", ["gate"]),
        ("weights.lm_head.weight", ["weights"]),
        ("max_abs", ["max_abs"]),
        ("quantile.0.5", ["quantile.<q>"]),
        ("quantile.<q>", ["quantile.<q>"]),
        ("growth[checkpoint-500]", ["growth"]),
        ("int8.max_abs.sqnr_db", ["int<bits>.<policy>.<quantity>", "sqnr_db"]),
        ("int8.max_abs.sqnr_db.drop", ["<metric>.drop", "sqnr_db"]),
        ("W4A16.weight_sqnr_db", ["<SCHEME>.<quantity>", "W4A16", "weight_sqnr_db"]),
        ("FP8.top1_agreement", ["<SCHEME>.<effect>", "FP8", "top1_agreement"]),
        ("top1_agreement", ["top1_agreement"]),
        ("W8A8", ["W8A8"]),
        ("nvfp4", ["NVFP4"]),
        ("INT8", ["W8A8"]),
        ("M", ["carrier"]),
        ("INT-8", ["int<bits>.<policy>.<quantity>", "sqnr_db"]),
        ("maxact::layers.3.hidden", ["hidden"]),
        ("maxact::layers.3.hidden::max_abs", ["hidden", "max_abs"]),
        ("maxact[checkpoint-500]::layers.3.hidden::growth[checkpoint-250]", ["hidden", "growth"]),
        ("../maxact::final_norm::max_abs", ["final_norm", "max_abs"]),
        ("limits.yaml::layers.3.hidden::max_abs", ["hidden", "max_abs"]),
        ("layers.3.hidden::max_abs.min", ["hidden", "max_abs.min"]),
        ("maxact::weights.lm_head.weight::nonfinite", ["weights", "nonfinite"]),
        ("maxact::model::jump_shift[old]", ["model", "jump_shift"]),
        ("maxact::predictions::margin", ["predictions", "margin"]),
        ("maxact::waive::layers.3.*", ["waive"]),
        ("maxact::waive::layers.3.*:12", ["waive"]),
        ("FAILED maxact::embedding::rms - Failed: embedding: rms 3 exceeds", ["embedding", "rms"]),
    ],
)
def test_a_name_is_known_as_limits_reports_and_ids_have_it(asked: str, found: list[str]) -> None:
    assert names(asked) == found


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("hiden", "hidden"),
        ("layers.3.hiden", "layers.3.hidden"),
        ("maxact::layers.3.mlp_otput::max_abs", "layers.3.mlp_output"),
        ("maxact::layers.3.hidden::max_bas", "max_abs"),
        ("maxabs", "max_abs"),
        ("W8A8.sqnr", "W8A8.sqnr_db"),
        ("int8.max_abs.sqnr", "int8.max_abs.sqnr_db"),
        ("W8A8STATIC", "W8A8_STATIC"),
        ("NVPF4", "NVFP4"),
        ("new_masive_layers", "new_massive_layers"),
    ],
)
def test_a_misspelt_name_is_refused_with_what_was_meant(asked: str, meant: str) -> None:
    text = refusal(asked)
    assert text.startswith("no site, metric or scheme called ")
    assert f"did you mean {meant}? `maxact explain` lists all" in text


@pytest.mark.parametrize("asked", ["", "::", "zzzzzz", "maxact::zzzzzz::max_abs", "layers.3.zzzzzz"])
def test_what_is_like_nothing_is_refused_with_where_to_look(asked: str) -> None:
    text = refusal(asked)
    assert "did you mean" not in text
    assert text.endswith("`maxact explain` lists all that there are")


# What to do


def test_the_waiver_of_a_check_names_its_site_and_its_metric() -> None:
    assert "site: layers.3.hidden, metric: max_abs, reason" in answers("maxact::layers.3.hidden::max_abs")[WAIVE[0]]
    assert "site: SITE, metric: METRIC" in answers("max_abs")[WAIVE[0]]


def test_an_answer_that_site_and_metric_share_is_given_once() -> None:
    found = [answer for entry in explain("layers.3.hidden::max_abs") for answer in entry.todo]
    assert len(found) == len(set(found)) == 4


def test_what_is_never_waived_is_not_told_to_be_waived_or_loosened() -> None:
    causes = answers("maxact::layers.3.hidden::nonfinite")
    assert NEVER_WAIVED[0] in causes
    assert not {WAIVE[0], EXPECTED[0], NEW_FAMILY[0]} & causes.keys()
    of_a_tensor = answers("maxact::weights.vision.w::nonfinite")
    assert "a part that nobody uses" in of_a_tensor
    assert NEVER_WAIVED[0] not in of_a_tensor
