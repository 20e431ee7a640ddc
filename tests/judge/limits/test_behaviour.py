"""What a model is asked to do, whatever its family: to predict, and that every layer does something."""

from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.behaviour import with_behaviour
from pytest_maxact.judge.limits.file import LimitsFile, builtin_path, parse_limits
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import select_rules
from tests.support.limits import QWEN3, written_at
from tests.support.records import sites

OWN = "version: 1\nextends: builtin\n"
ANN = "source: ann\n"
FAMILIES = (
    "families:\n  mine:\n    limits: {hidden: 1}\n    min_margin: 1.5\n  other: {limits: {hidden: 1}, min_margin: 4}\n"
)
SILENT = "families: {mine: {limits: {hidden: 1}}}\n"
GENERIC = "generic:\n  min_margin: 2.5\n"


def behaving(
    text: str, folder: Path, predicted: bool = True, probed: bool = True, family: str = "generic"
) -> list[Limit]:
    files = parse_limits(text, folder / "limits.yaml")
    rules = select_rules(files, QWEN3, sites(2), family)
    found = with_behaviour(rules, files, sites(2), predicted=predicted, probed=probed)
    assert found.limits[: len(rules.limits)] == rules.limits
    return list(found.limits[len(rules.limits) :])


@pytest.mark.parametrize(
    ("predicted", "probed", "metrics"),
    [(True, True, ["nonfinite", "margin", "changed", "changed"]), (True, False, ["nonfinite", "margin"]),
     (False, True, ["changed", "changed"]), (False, False, [])],
)  # fmt: skip
def test_a_model_is_held_to_what_is_measured_of_what_it_does(
    predicted: bool, probed: bool, metrics: list[str], tmp_path: Path
) -> None:
    found = behaving(OWN, tmp_path, predicted, probed)
    assert [limit.metric.name for limit in found] == metrics
    assert {limit.site for limit in found if limit.metric.name != "changed"} <= {"predictions"}
    assert [limit.site for limit in found if limit.metric.name == "changed"] == [
        f"layers.{layer}.hidden" for layer in range(2) if probed
    ]
    assert {(limit.metric.name, limit.sense) for limit in found} <= {
        ("nonfinite", "max"), ("margin", "min"), ("changed", "min"),
    }  # fmt: skip
    assert {(limit.rule, limit.source, limit.against) for limit in found} <= {("every family", "", "")}


def test_what_a_file_of_ones_own_states_of_it_wins_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "limits.yaml").write_text(text := OWN + "generic:\n  min_margin: 2.5\n")
    by_name = {limit.metric.name: limit for limit in behaving(text, tmp_path)}
    assert (by_name["margin"].bound, by_name["nonfinite"].bound) == (2.5, 0.0)
    assert written_at(by_name["margin"]) == "min_margin: 2.5"
    assert by_name["changed"].file == str(builtin_path())
    assert "min_changed" in written_at(by_name["changed"])


@pytest.mark.parametrize("key", ["min_margin", "min_changed"])
def test_null_asks_for_nothing(key: str, tmp_path: Path) -> None:
    left = {limit.metric.name for limit in behaving(OWN + f"generic: {{{key}: null}}\n", tmp_path)}
    assert left == {"nonfinite", "margin", "changed"} - {key.removeprefix("min_")}


def test_a_file_that_says_nothing_of_it_is_held_to_what_is_shipped(tmp_path: Path) -> None:
    alone = {limit.metric.name: limit.bound for limit in behaving("version: 1\ngeneric: {}\n", tmp_path)}
    assert alone == {limit.metric.name: limit.bound for limit in behaving(OWN, tmp_path)}
    (limit, *_) = behaving("version: 1\ngeneric: {}\n", tmp_path)
    assert (limit.file, limit.line) == (str(builtin_path()), 1)


# A family's own margin


def margin_of(text: str, folder: Path, family: str = "mine") -> Limit | None:
    return next((limit for limit in behaving(text, folder, family=family) if limit.metric.name == "margin"), None)


@pytest.mark.parametrize("generic", ["", GENERIC, "generic: {min_margin: null}\n"], ids=["none", "stated", "null"])
def test_a_familys_own_margin_comes_before_that_of_all(generic: str, tmp_path: Path) -> None:
    (tmp_path / "limits.yaml").write_text(text := OWN + ANN + generic + FAMILIES)
    limit = margin_of(text, tmp_path)
    assert limit is not None
    assert (limit.bound, limit.sense, limit.site) == (1.5, "min", "predictions")
    assert (limit.rule, limit.source, limit.file) == ("family mine", "ann", str(tmp_path / "limits.yaml"))
    assert written_at(limit) == "min_margin: 1.5"


def test_a_familys_source_comes_before_the_files(tmp_path: Path) -> None:
    limit = margin_of(OWN + ANN + FAMILIES.replace("mine:\n", "mine:\n    source: bob\n"), tmp_path)
    assert limit is not None
    assert limit.source == "bob"
    unsaid = margin_of("version: 1\n" + FAMILIES, tmp_path)
    assert unsaid is not None
    assert unsaid.source == ""


@pytest.mark.parametrize("own", [SILENT, SILENT.replace("{hidden: 1}}", "{hidden: 1}, min_margin: null}")])
def test_a_family_that_says_nothing_of_it_is_held_to_that_of_all(own: str, tmp_path: Path) -> None:
    for generic, expected in (("", 0.25), (GENERIC, 2.5)):
        limit = margin_of(OWN + own + generic, tmp_path)
        assert limit is not None
        assert (limit.bound, limit.rule) == (expected, "every family")
    assert margin_of(OWN + own + "generic: {min_margin: null}\n", tmp_path) is None


def test_another_familys_margin_is_none_of_this_one(tmp_path: Path) -> None:
    bounds = {family: margin_of(OWN + FAMILIES, tmp_path, family) for family in ("mine", "other", "generic")}
    assert {family: limit.bound for family, limit in bounds.items() if limit} == {
        "mine": 1.5, "other": 4.0, "generic": 0.25,
    }  # fmt: skip


def test_what_a_file_says_of_all_comes_before_the_family_of_a_file_that_it_extends(tmp_path: Path) -> None:
    (own,) = parse_limits("version: 1\n" + SILENT + GENERIC, tmp_path / "own.yaml")
    (below,) = parse_limits("version: 1\n" + FAMILIES, tmp_path / "below.yaml")
    (silent,) = parse_limits("version: 1\n" + SILENT, tmp_path / "silent.yaml")
    rules = select_rules([own, below], QWEN3, sites(2), "mine")

    def bound(*files: LimitsFile) -> list[float]:
        found = with_behaviour(rules, files, sites(2), predicted=True, probed=False).limits
        return [limit.bound for limit in found if limit.metric.name == "margin"]

    assert (bound(own, below), bound(silent, below), bound(below, own)) == ([2.5], [1.5], [1.5])


@pytest.mark.parametrize("figure", [".nan", ".inf", "true", '"1"'])
def test_a_margin_that_is_no_number_is_refused(figure: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"limits\.yaml:6"):
        margin_of(OWN + FAMILIES.replace("min_margin: 1.5", f"min_margin: {figure}"), tmp_path)


def test_where_nothing_is_predicted_a_familys_margin_is_not_asked(tmp_path: Path) -> None:
    assert not behaving(OWN + FAMILIES, tmp_path, predicted=False, probed=False, family="mine")
