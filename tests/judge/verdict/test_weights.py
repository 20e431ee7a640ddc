"""The weight files against their limits: a check of all of them, one of every tensor at fault, and what waivers of
tensors by name let pass.
"""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.file import load_limits, parse_limits
from pytest_maxact.judge.verdict.check import check_bound, judge
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.judge.verdict.weights import tensor_limits, unscanned
from pytest_maxact.numbers.scan import TensorScan, WeightScan
from pytest_maxact.record.file import load, save
from pytest_maxact.record.merge import merge
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.findings import checks_failing
from tests.support.reports import data_of

HEAD, TOWER = "lm_head.weight", "vision.encoder.layers.0.mlp.fc1.weight"


def tensor(nonfinite: int = 0, empty: int = 0, largest: float = 1.0) -> TensorScan:
    return TensorScan(
        file="a.safetensors", dtype="BF16", shape=(8, 4), elements=32, nonfinite=nonfinite, empty=empty, largest=largest
    )


def holding(*, misfits: dict[str, str] | None = None, **named: TensorScan) -> Record:
    """A Record whose weights hold these, `__` in a name for a point."""
    scan = WeightScan(
        files=("a.safetensors", "b.safetensors"),
        tensors=9,
        elements=1000,
        largest=next(iter(named), "").replace("__", "."),
        named={name.replace("__", "."): found for name, found in named.items()},
        misfits=misfits or {},
    )
    return replace(records.seen(), weights=scan)


def of_weights(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.limit.site.startswith("weights")]


def waiving(site: str, metric: str = "*", more: str = "") -> str:
    until = date.today().replace(day=1).isoformat()[:4]
    return (
        "version: 1\nextends: builtin\nwaive:\n"
        f'  - {{site: "{site}", metric: "{metric}", reason: not used, owner: me, until: {until}-12-31{more}}}\n'
    )


def judged(record: Record, waivers: str = "") -> list[Finding]:
    files = parse_limits(waivers, Path("limits.yaml")) if waivers else load_limits()
    return of_weights(verdict(record, files))


def test_sound_weights_hold_three_checks_and_no_more() -> None:
    found = judged(records.seen())
    assert [(finding.limit.check, finding.value, finding.passed) for finding in found] == [
        ("weights::all_zero", 0.0, True), ("weights::misfit", 0.0, True), ("weights::nonfinite", 0.0, True),
    ]  # fmt: skip
    assert found[2].message.startswith("weights: all 20 tensors in model.safetensors are finite; every family (thr")


def test_weights_of_a_model_in_training_lie_in_no_file() -> None:
    record = holding(lm_head__weight=replace(tensor(3), file=""))
    assert record.weights
    found = {
        finding.limit.check: finding.message
        for finding in judged(replace(record, weights=replace(record.weights, files=())))
    }
    assert found["weights::misfit"].startswith("weights: all 9 tensors are those that")
    assert "NaN or infinite (BF16 8 x 4); " in found["weights.lm_head.weight::nonfinite"]


def test_every_tensor_with_a_nan_fails_beside_the_sum() -> None:
    record = holding(lm_head__weight=tensor(3), vision__bias=tensor(2), norm__weight=tensor())
    found = {finding.limit.check: finding for finding in judged(record)}
    failing = {name: finding.value for name, finding in found.items() if not finding.passed}
    assert failing == {
        "weights::nonfinite": 5.0, "weights.lm_head.weight::nonfinite": 3.0, "weights.vision.bias::nonfinite": 2.0,
    }  # fmt: skip
    told = found["weights.lm_head.weight::nonfinite"].message
    assert told.startswith("lm_head.weight: 3 of 32 entries are NaN or infinite (BF16 8 x 4 in a.safetensors)")
    assert (
        "5 NaN or infinite entries in 2 of 9 tensors: lm_head.weight, vision.bias"
        in found["weights::nonfinite"].message
    )


def test_a_misfit_and_a_matrix_of_zeros_are_failures_of_their_own() -> None:
    record = holding(misfits={HEAD: "no weight file holds it"}, proj__weight=tensor(empty=1))
    assert checks_failing(judged(record)) == [
        "weights::all_zero", "weights::misfit", "weights.proj.weight::all_zero", f"weights.{HEAD}::misfit",
    ]  # fmt: skip


def test_limits_of_weights_stand_in_the_file() -> None:
    for finding in judged(holding(a=tensor(1))):
        line = Path(finding.limit.file).read_text().splitlines()[finding.limit.line - 1]
        assert "weights: {nonfinite: 0, misfit: 0, all_zero: 0}" in line


def test_so_many_matrices_of_zeros_as_a_file_says_are_let_be() -> None:
    record = holding(a__weight=tensor(empty=1), b__weight=tensor(empty=2))
    stated = "version: 1\nextends: builtin\ngeneric:\n  weights: {{all_zero: {}}}\n"
    assert checks_failing(judged(record, stated.format(3))) == []
    assert len(checks_failing(judged(record, stated.format(2)))) == 3


@pytest.mark.parametrize("key", ["nonfinite", "misfit"])
def test_no_file_allows_what_is_broken(key: str) -> None:
    with pytest.raises(InputError, match=f"weights.{key}"):
        parse_limits(f"version: 1\nextends: builtin\ngeneric:\n  weights: {{{key}: 1}}\n", Path("limits.yaml"))


@pytest.mark.parametrize(
    "record",
    [
        holding(lm_head__weight=tensor(3)),
        holding(misfits={HEAD: "no weight file holds it"}),
        holding(lm_head__weight=tensor(empty=1)),
    ],
)
@pytest.mark.parametrize("site", [f"weights.{HEAD}", "weights.lm_head*", "weights.*head.weight"])
def test_a_waiver_lets_a_tensor_pass_by_name_and_the_sum_with_it(site: str, record: Record) -> None:
    found = judged(record, waiving(site))
    assert [finding.limit.site for finding in found if finding.waiver] == [f"weights.{HEAD}"]
    assert checks_failing(found) == []
    assert any("1 more is waived" in finding.message for finding in found)


def test_a_waiver_of_one_tensor_does_not_excuse_another() -> None:
    record = holding(lm_head__weight=tensor(3), vision__bias=tensor(2))
    found = judged(record, waiving(f"weights.{HEAD}"))
    assert checks_failing(found) == ["weights::nonfinite", "weights.vision.bias::nonfinite"]
    assert {finding.limit.check: finding.value for finding in found}["weights::nonfinite"] == 2.0


@pytest.mark.parametrize("site", ["*", "weights*", "weights.*", "weights", "weights.*.*", "w*.lm_head.weight"])
def test_no_waiver_lets_pass_what_it_does_not_name(site: str) -> None:
    record = holding(lm_head__weight=tensor(3))
    found = judged(record, waiving(site, more=", everything: true"))
    assert checks_failing(found) == ["weights::nonfinite", f"weights.{HEAD}::nonfinite"]


def test_a_waiver_of_weights_does_not_touch_activations() -> None:
    broken = records.with_values(layers__1__hidden=[[float("nan"), 1.0, 2.0, 8.0]])
    found = verdict(broken, parse_limits(waiving("weights.layers.1.hidden"), Path("limits.yaml")))
    assert "layers.1.hidden::nonfinite" in checks_failing(found)


def test_a_record_without_a_scan_has_no_check_of_weights_and_says_so() -> None:
    earlier = replace(records.seen(), weights=None)
    assert judged(earlier) == []
    assert "holds no scan of its weights" in unscanned(earlier)
    assert unscanned(records.seen()) == ""
    with pytest.raises(MeasureError, match="the Record holds no scan of its weights"):
        check_bound(earlier, "weights", "nonfinite", 0, "max")


def test_a_test_of_ones_own_may_ask_for_weights() -> None:
    record = holding(lm_head__weight=tensor(3))
    assert not check_bound(record, "weights", "nonfinite", 2, "max").passed
    assert check_bound(record, f"weights.{HEAD}", "nonfinite", 3, "max").passed
    assert check_bound(record, "weights.norm.weight", "nonfinite", 0, "max").passed
    with pytest.raises(InputError, match="no metric of weights called 'max_abs'"):
        check_bound(record, "weights", "max_abs", 2, "max")


def test_limits_that_are_among_them_already_are_not_added_again() -> None:
    record = holding(lm_head__weight=tensor(3))
    limits = [finding.limit for finding in judged(record)]
    assert tensor_limits(record, limits) == ()
    assert len(judge(record, limits)) == len(limits)


def test_the_scan_is_saved_summed_up_and_merged_with_the_record(tmp_path: Path) -> None:
    record = holding(lm_head__weight=tensor(3), misfits={"a": "no weight file holds it"})
    save(record, tmp_path / "r.safetensors")
    assert load(tmp_path / "r.safetensors").weights == record.weights
    assert summary(record).weights == record.weights
    assert merge([record]).weights == record.weights
    other = replace(records.record(records.CALM), weights=record.weights)
    with pytest.raises(InputError, match="are not parts of one measurement"):
        merge([replace(other, weights=records.SOUND), other])


def test_it_stands_in_the_data_of_a_record() -> None:
    told = data_of(holding(lm_head__weight=tensor(3), misfits={TOWER: "no weight file holds it"}))["weights"]
    assert (told["tensors"], told["nonfinite"], told["misfits"]) == (9, 3, {TOWER: "no weight file holds it"})
    assert told["broken"][HEAD]["shape"] == [8, 4]
    assert "weights" not in data_of(replace(records.seen(), weights=None))
