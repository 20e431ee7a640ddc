"""What a finding about weights says: how much is wrong with which tensors, or that nothing is, word for word."""

from dataclasses import replace

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.verdict.check import check, judge
from pytest_maxact.judge.verdict.weights import unscanned
from pytest_maxact.numbers.scan import TensorScan, WeightScan
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.findings import limit
from tests.support.waivers import SOON, waiver

LOST = "so it was not saved, not loaded or not trained"
ORIGIN = "; shape Tiny (limits.yaml:7, a paper)"


def tensor(nonfinite: int = 0, empty: int = 0, shape: tuple[int, ...] = (8, 4)) -> TensorScan:
    return TensorScan(
        file="a.safetensors", dtype="BF16", shape=shape, elements=32, nonfinite=nonfinite, empty=empty, largest=1.0
    )


def holding(*files: str, misfits: dict[str, str] | None = None, named: dict[str, TensorScan] | None = None) -> Record:
    scan = WeightScan(files=files or ("a", "b"), tensors=9, elements=1000, named=named or {}, misfits=misfits or {})
    return replace(records.seen(), weights=scan)


def told(record: Record, metric: str, site: str = "weights") -> str:
    message = check(record, limit(0.0, site, metric)).message
    assert message.endswith(ORIGIN)
    return message.removesuffix(ORIGIN)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("nonfinite", "are finite"),
        ("all_zero", "hold no matrix of zeros"),
        ("misfit", "are those that the config calls for"),
    ],
)
def test_of_sound_weights_it_is_said_what_all_of_them_are(metric: str, words: str) -> None:
    assert told(holding("a.safetensors"), metric) == f"weights: all 9 tensors in a.safetensors {words}"
    assert told(holding("a", "b", "c"), metric) == f"weights: all 9 tensors in 3 files {words}"


@pytest.mark.parametrize("count", [1, 3, 4])
def test_of_several_at_fault_three_are_named(count: int) -> None:
    names = list("abcd")[:count]
    listed = {1: "a", 3: "a, b, c", 4: "a, b, c, ..."}[count]
    broken = holding(named={name: tensor(nonfinite=2) for name in names})
    assert told(broken, "nonfinite") == (
        f"weights: {2 * count} NaN or infinite entries in {count} of 9 tensors: {listed}"
    )
    empty = holding(named={name: tensor(empty=3) for name in names})
    assert told(empty, "all_zero") == (
        f"weights: {3 * count} matrices of nothing but zeros in {count} of 9 tensors: {listed}"
    )
    unfit = holding(misfits=dict.fromkeys(names, "no weight file holds it"))
    what = "1 tensor is not the one" if count == 1 else f"{count} tensors are not those"
    assert told(unfit, "misfit") == f"weights: {what} that the config calls for: {listed}"


@pytest.mark.parametrize(
    ("metric", "found", "words"),
    [
        ("nonfinite", tensor(nonfinite=3), "3 of 32 entries are NaN or infinite (BF16 8 x 4 in a.safetensors)"),
        ("nonfinite", tensor(1, shape=()), "1 of 32 entries are NaN or infinite (BF16 scalar in a.safetensors)"),
        ("all_zero", tensor(empty=1), f"every entry is zero, {LOST} (BF16 8 x 4 in a.safetensors)"),
        (
            "all_zero",
            tensor(empty=2, shape=(5, 4, 3)),
            f"2 of its 5 matrices are zero, {LOST} (BF16 5 x 4 x 3 in a.safetensors)",
        ),
        ("nonfinite", tensor(empty=2), "finite"),
        ("all_zero", tensor(nonfinite=2), "no matrix of zeros"),
        ("nonfinite", None, "finite"),
        ("all_zero", None, "no matrix of zeros"),
        ("misfit", tensor(), "the files hold it as the config calls for it"),
    ],
)
def test_a_tensor_is_told_by_itself(metric: str, found: TensorScan | None, words: str) -> None:
    record = holding(named={"lm_head.weight": found} if found else {"norm.weight": tensor(nonfinite=9, empty=9)})
    finding = check(record, limit(0.0, "weights.lm_head.weight", metric))
    assert finding.message == f"lm_head.weight: {words}{ORIGIN}"
    assert finding.passed == (words in ("finite", "no matrix of zeros", "the files hold it as the config calls for it"))


def test_a_misfit_is_told_in_its_own_words() -> None:
    record = holding(misfits={"lm_head.weight": "no weight file holds it", "norm.weight": "of another shape"})
    assert told(record, "misfit", "weights.lm_head.weight") == "lm_head.weight: no weight file holds it"
    assert check(record, limit(0.0, "weights.lm_head.weight", "misfit")).value == 1.0


@pytest.mark.parametrize("metric", ["nonfinite", "all_zero", "misfit"])
def test_what_is_waived_by_name_is_counted_beside_the_rest(metric: str) -> None:
    found = tensor(nonfinite=2, empty=2)
    broken = holding(
        named={"a": found, "b": found, "c": found}, misfits=dict.fromkeys("abc", "no weight file holds it")
    )

    def summed(*waived: str) -> str:
        given: list[Waiver] = [waiver(f"weights.{name}", until=SOON) for name in waived]
        (finding,) = (
            one for one in judge(broken, [limit(0.0, "weights", metric)], None, given) if one.limit.site == "weights"
        )
        return finding.message.removesuffix(ORIGIN)

    two = {
        "nonfinite": "4 NaN or infinite entries in 2 of 9 tensors",
        "all_zero": "4 matrices of nothing but zeros in 2 of 9 tensors",
        "misfit": "2 tensors are not those that the config calls for",
    }[metric]
    sound = {
        "nonfinite": "are finite",
        "all_zero": "hold no matrix of zeros",
        "misfit": "are those that the config calls for",
    }[metric]
    assert summed("b") == f"weights: {two}: a, c, 1 more is waived"
    assert summed("a", "b", "c") == f"weights: all 6 tensors in 2 files {sound}, 3 more are waived"


def test_a_record_without_a_scan_says_what_was_not_checked() -> None:
    earlier = replace(records.seen(), weights=None)
    assert unscanned(earlier) == (
        "this Record holds no scan of its weights, so what the measurement does not run (head, towers, rows and experts"
        " that no token met) was not checked: measure again"
    )
    assert unscanned(holding()) == ""
    with pytest.raises(MeasureError) as caught:
        check(earlier, limit(0.0, "weights", "nonfinite"))
    assert str(caught.value) == (
        "the Record holds no scan of its weights, for which limits.yaml:7 sets a limit\n  measure the checkpoint again"
    )
    with pytest.raises(MeasureError) as caught:
        check(earlier, replace(limit(0.0, "weights", "nonfinite"), file=""))
    assert str(caught.value) == "the Record holds no scan of its weights\n  measure the checkpoint again"


def test_a_metric_that_weights_do_not_have_is_refused_with_those_they_have() -> None:
    with pytest.raises(InputError) as caught:
        check(holding(), limit(0.0, "weights", "max_abs"))
    assert str(caught.value) == (
        "no metric of weights called 'max_abs'\n  there are nonfinite, misfit, all_zero and lint"
    )


def test_tensors_are_held_to_zero_where_all_of_them_break_what_is_allowed() -> None:
    record = holding(named={"a": tensor(empty=1), "b": tensor(empty=2), "c": tensor(nonfinite=1)})
    bounds = {3.0: {}, 2.5: {"weights.a": 1.0, "weights.b": 2.0}}
    for bound, own in bounds.items():
        found = judge(record, [limit(bound, "weights", "all_zero")])
        assert {one.limit.site: one.value for one in found if one.limit.site != "weights"} == own
        assert {one.limit.bound for one in found if one.limit.site != "weights"} <= {0.0}


def test_limits_on_activations_add_no_tensors() -> None:
    record = holding(named={"a": tensor(nonfinite=1)})
    sites = [one.limit.site for one in judge(record, [limit(0.0, "layers.0.hidden", "nonfinite")])]
    assert sites == ["layers.0.hidden"]


def test_without_a_scan_other_limits_are_judged_and_those_of_weights_are_not() -> None:
    earlier = replace(records.seen(), weights=None)
    limits = [limit(9.0), limit(0.0, "weights", "nonfinite"), limit(0.0, "weights.a", "nonfinite")]
    assert [one.limit.site for one in judge(earlier, limits)] == ["layers.0.hidden"]
