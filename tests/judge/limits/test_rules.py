"""What the limits of one checkpoint are besides their bounds: in which order, from which files, and what they were
found on.
"""

from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.judge.limits.file import builtin_path, load_limits, parse_limits
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset, family_speaking_of, select_rules, with_baseline, with_fitness
from pytest_maxact.numbers.sites import Site
from tests.support.limits import FAMILY, HEAD, QWEN3, UNPUBLISHED, bounds, limit_of, rules_of, written_at
from tests.support.records import site, sites

OWN = "version: 1\nextends: builtin\n"
DEPLOYED = [*sites(1), site("layers.0.o_in")]


def checks(limits: tuple[Limit, ...]) -> list[str]:
    return [limit.check for limit in limits]


def shuffled(model: list[Site]) -> list[Site]:
    return [*reversed(model)]


def test_limits_stand_by_site_then_by_baseline_then_by_metric(tmp_path: Path) -> None:
    text = HEAD + FAMILY + "    limits: {hidden: 1}\n    min_max_abs: {hidden: 0.5}\nregression: {max_growth: 2}\n"
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    model = shuffled(sites(1, ("hidden",)))
    rules = select_rules(load_limits(path), UNPUBLISHED, model)
    both = with_baseline(with_baseline(rules, load_limits(path), model, (), "v1"), load_limits(path), model, (), "v2")
    of_hidden = [limit.name for limit in both.limits if limit.site == "layers.0.hidden"]
    assert of_hidden == ["max_abs", "max_abs.min", "nonfinite", "growth[v1]", "growth[v2]"]
    order = list(dict.fromkeys(limit.site for limit in both.limits))
    assert order == ["embedding", "layers.0.hidden", "final_norm", "weights"]


def test_what_holds_for_every_family_is_written_in_the_file_that_says_so(tmp_path: Path) -> None:
    text = OWN + "generic:\n  max_abs: 100\n  max_unreached_experts: 0.25\n  nonfinite: 0\n  source: ann\n"
    model = [*sites(1), site("layers.0.router")]
    rules = rules_of(text, tmp_path, QWEN3, model, "generic")
    assert {bound for name, bound in bounds(rules).items()} == {100.0}
    assert set(bounds(rules)) == set(bounds(rules, "nonfinite")) - {"weights"} == {site.name for site in model}
    assert bounds(rules, "unreached_experts") == {"layers.0.router": 0.25}
    for check, line in {
        "embedding::max_abs": "max_abs: 100",
        "embedding::nonfinite": "nonfinite: 0",
        "layers.0.router::unreached_experts": "max_unreached_experts: 0.25",
    }.items():
        limit = limit_of(rules, check)
        assert (written_at(limit), limit.sense, limit.figure, limit.file) == (
            line, "max", None, str(tmp_path / "limits.yaml"),
        )  # fmt: skip
    named = {limit.metric.name: (limit.rule, limit.source) for limit in rules.limits if limit.site != "weights"}
    assert named == {
        "max_abs": ("generic: FP16 range", "ann"),
        "nonfinite": ("every family", "a NaN or infinity is a broken checkpoint"),
        "unreached_experts": ("every family", ""),
    }
    assert (rules.family, rules.shape, rules.protocol, rules.measured) == ("generic", None, None, None)


def test_without_a_generic_section_the_range_is_that_of_float16(tmp_path: Path) -> None:
    model = [*sites(1), site("layers.0.router")]
    rules = rules_of(HEAD + FAMILY + "    limits: {hidden: 1}\n", tmp_path, model=model, family="generic")
    assert set(bounds(rules).values()) == {65504.0}
    assert limit_of(rules, "embedding::max_abs").source == "IEEE 754 binary16"
    assert not bounds(rules, "unreached_experts")
    assert rules.files == [str(tmp_path / "limits.yaml")]


@pytest.mark.parametrize(
    ("own", "bound", "rule"), [("", 0.75, "every family"), ("    max_unreached_experts: 0.5\n", 0.5, "family qwen3")]
)
def test_experts_of_a_family_are_held_to_what_it_states_or_to_what_holds_for_all(
    own: str, bound: float, rule: str, tmp_path: Path
) -> None:
    text = HEAD + "generic: {max_unreached_experts: 0.75}\n" + FAMILY + "    limits: {hidden: 1}\n" + own
    rules = rules_of(text, tmp_path, model=[*sites(1), site("layers.0.router")])
    limit = limit_of(rules, "layers.0.router::unreached_experts")
    assert (limit.bound, limit.rule) == (bound, rule)


def test_a_lower_limit_at_the_upper_one_of_another_file_speaks_for_nobody(tmp_path: Path) -> None:
    shipped = select_rules(load_limits(), QWEN3, sites(36))
    least = bounds(shipped, "max_abs.min")["layers.3.hidden"]
    for own, kept in ((least * 1.001, True), (least, False), (least * 0.999, False)):
        text = OWN + f"headroom: 1\nfamilies: {{qwen3: {{limits: {{hidden: {own!r}}}}}}}\n"
        rules = rules_of(text, tmp_path, QWEN3)
        assert bounds(rules)["layers.3.hidden"] == own
        assert ("layers.3.hidden" in bounds(rules, "max_abs.min")) is kept
    assert "layers.3.gate" in bounds(rules)
    assert bounds(rules)["layers.3.gate"] == bounds(shipped)["layers.3.gate"]


def test_a_lower_limit_above_the_upper_one_of_its_own_file_is_kept(tmp_path: Path) -> None:
    """Both cannot hold, and who wrote them is told by a failing check."""
    text = HEAD + FAMILY + "    limits: {hidden: 1}\n    min_max_abs: {hidden: 9}\n"
    assert bounds(rules_of(text, tmp_path), "max_abs.min")["layers.0.hidden"] == 9


def test_the_family_that_lists_a_model_type_speaks(tmp_path: Path) -> None:
    files = parse_limits(OWN + "families: {mine: {model_types: [qwen3, a]}, other: {model_types: [b]}}", tmp_path / "l")
    assert [family_speaking_of(files, name) for name in ("a", "b", "qwen2", "qwen3", "c")] == [
        "mine", "other", "qwen2", "mine", None,
    ]  # fmt: skip


def test_a_shape_says_what_it_was_measured_on_and_a_file_what_all_of_it_was(tmp_path: Path) -> None:
    rules = select_rules(load_limits(), QWEN3, sites(36))
    shipped = load_limits()[0].document
    assert rules.text == shipped.text
    text = (
        OWN + "text: {tokens: 9, samples: 3}\n" + FAMILY + "    shapes:\n      - {name: T, layers: 2, hidden_size: 64,"
        " limits: {hidden: 1}, measured: {corpus: mine, sha256: " + "0" * 64 + ", tokens: 5, dtype: bf16}}\n"
    )
    own = rules_of(text, tmp_path)
    assert own.text is not None
    assert (own.text.tokens, own.shape) == (9, "T")
    assert own.measured is not None
    assert (own.measured.tokens, own.measured.dtype) == (5, "bfloat16")
    assert rules_of(text, tmp_path, QWEN3).text == own.text


def test_checks_of_a_scheme_are_limits_and_those_that_are_reported_are_not() -> None:
    files = load_limits()
    rules = select_rules(files, QWEN3, DEPLOYED, "generic")

    def fit(**options: object) -> Ruleset:
        given: dict[str, Any] = {"reported": (), "predicts": True, **options}
        return with_fitness(rules, files, shuffled(DEPLOYED), **given)

    def schemes(limits: tuple[Limit, ...]) -> set[str]:
        return {limit.metric.scheme for limit in limits}

    both = fit(checked=["W8A8"], reported=["FP8", "W8A8"])
    assert checks(both.limits) == [*checks(rules.limits), *checks(fit(checked=["W8A8"]).fitness)]
    assert schemes(both.fitness) == {"W8A8", "FP8"}
    assert len(both.fitness) == len({limit.check for limit in both.fitness}), "what is checked is shown once"
    assert "model::W8A8.mean_kl" in checks(both.limits)
    assert "model::FP8.mean_kl" not in checks(both.fitness), "of what is reported only what is measured"
    assert "model::FP8.mean_kl" in checks(fit(checked=[], reported=["FP8"], effects={"FP8"}).fitness)
    assert "model::W8A8.mean_kl" not in checks(fit(checked=["W8A8"], predicts=False).limits)
    cast = [limit.site for limit in fit(checked=["FP16"]).fitness if limit.metric.quantity == "headroom"]
    assert cast == [site.name for site in sorted(DEPLOYED, key=lambda site: site.order)]


@pytest.mark.parametrize(("stated", "source"), [(", source: a study", "a study"), ("", "")])
def test_fitness_is_told_with_what_its_bounds_were_taken_from(stated: str, source: str, tmp_path: Path) -> None:
    files = parse_limits(f"version: 1\ngeneric: {{}}\ndeploy: {{min_sqnr_db: 20{stated}}}\n", tmp_path / "limits.yaml")
    rules = select_rules(files, QWEN3, DEPLOYED, "generic")
    (limit,) = with_fitness(rules, files, DEPLOYED, checked=["W8A8"], reported=(), predicts=False).fitness
    assert (limit.check, limit.rule, limit.source) == ("layers.0.o_in::W8A8.sqnr_db", "fitness for W8A8", source)


def test_checks_against_a_baseline_are_all_there_are_unless_less_was_measured() -> None:
    files = load_limits()
    rules = select_rules(files, QWEN3, DEPLOYED, "generic")

    def metrics(schemes: tuple[str, ...] = (), **less: bool) -> set[str]:
        return {limit.metric.name for limit in with_baseline(rules, files, DEPLOYED, schemes, "v1", **less).limits}

    assert {"growth", "shift", "turn"} <= metrics()
    assert metrics() - metrics(probed=False) == {"turn"}
    assert metrics() - metrics(slim=True) == {"shift"}
    assert metrics(("W8A8",)) - metrics() == {"W8A8.sqnr_db.drop", "W8A8.weight_sqnr_db.drop"}


def test_files_are_those_that_set_a_limit(tmp_path: Path) -> None:
    assert rules_of(OWN, tmp_path, QWEN3).files == [str(builtin_path())]
