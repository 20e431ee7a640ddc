"""What a look at quantized tensors found, judged: a check of all of them, one of every tensor and metric at fault, and
what waivers of tensors by name let pass.
"""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pytest_maxact.errors import MeasureError
from pytest_maxact.judge.limits.file import parse_limits
from pytest_maxact.judge.verdict.check import check_bound
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.numbers.lint import LINT_METRICS, LINTS, LISTED, Lint, LintFault, lint_of
from pytest_maxact.numbers.scan import WeightScan
from pytest_maxact.record.file import load, save
from pytest_maxact.record.metrics.metric import Metric, Of
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.reports import data_of

Q = "model.layers.1.self_attn.q_proj.weight_scale"
ZERO = LintFault(code="scale_zero", tensor=Q, what="1 of 8 entries is zero", layer=1)
FUSED = LintFault(code="global_scale", tensor=Q, what="it is 2, and k_proj 1", layer=1)
ONE = LintFault(code="kv_scale_one", tensor="model.layers.1.self_attn.k_scale", what="1.0", layer=1)


def holding(*faults: LintFault) -> Record:
    return _with(lint_of("FP8", 9, 4, faults))


def _with(lint: Lint | None) -> Record:
    scan = WeightScan(files=("a.safetensors",), tensors=9, elements=1000, lint=lint)
    return replace(records.seen(), weights=scan)


def of_lint(record: Record, waivers: str = "") -> dict[str, Finding]:
    files = parse_limits(f"version: 1\nextends: builtin\n{waivers}", Path("limits.yaml"))
    found = verdict(record, files, family="generic")
    return {finding.limit.check: finding for finding in found if finding.limit.metric.name in ("lint", *LINT_METRICS)}


def waiving(site: str, metric: str) -> str:
    day = f"{date.today().year}-12-31"
    return f'waive:\n  - {{site: "{site}", metric: "{metric}", reason: known, owner: me, until: {day}}}\n'


def test_every_finding_has_a_metric_of_weights() -> None:
    assert {Metric.parse(name).kind.of for name in ("lint", *LINT_METRICS)} == {Of.WEIGHTS}


def test_where_nothing_is_wrong_there_is_one_check_that_holds() -> None:
    found = of_lint(holding(ONE))
    assert list(found) == ["weights::lint"]
    assert found["weights::lint"].passed


def test_every_fault_fails_by_the_name_of_its_tensor_and_metric() -> None:
    found = of_lint(holding(ZERO, FUSED, ONE))
    assert set(found) == {"weights::lint", f"weights.{Q}::scale", f"weights.{Q}::fused"}
    assert not any(finding.passed for finding in found.values())
    message = found[f"weights.{Q}::scale"].message
    assert "layer 1" in message
    assert LINTS["scale_zero"].mend in message


def test_a_waiver_of_one_metric_of_a_tensor_leaves_the_other() -> None:
    found = of_lint(holding(ZERO, FUSED), waiving(f"weights.{Q}", "scale"))
    assert found[f"weights.{Q}::scale"].accepted
    assert not found[f"weights.{Q}::fused"].accepted
    assert found["weights::lint"].value == 1
    both = of_lint(holding(ZERO, FUSED), waiving(f"weights.{Q}", "*"))
    assert all(finding.accepted for finding in both.values())


def test_more_faults_than_are_listed_are_not_waived_with_them() -> None:
    many = [replace(ZERO, tensor=f"model.layers.{n}.w.weight_scale", layer=n) for n in range(LISTED + 5)]
    found = of_lint(holding(*many), waiving("weights.model*", "*"))
    assert found["weights::lint"].value == 5
    assert not found["weights::lint"].accepted


def test_a_record_that_was_not_looked_at_has_no_check_of_it_and_is_not_asked_for_one() -> None:
    assert of_lint(_with(None)) == {}
    with pytest.raises(MeasureError, match="no look at the scales"):
        check_bound(_with(None), "weights", "lint", 0, "max")


def test_findings_stay_in_a_record(tmp_path: Path) -> None:
    record = holding(ZERO, ONE)
    save(record, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").weights == record.weights
    assert data_of(record)["weights"]["lint"]["red"] == 1


@pytest.mark.parametrize(
    "lint",
    [
        Lint(form="FP8", tensors=9, modules=4, counts={"scale_zero": 1}),
        Lint(form="FP8", tensors=9, modules=4, faults=(ZERO,)),
        Lint(form="FP8", tensors=9, modules=4, faults=(replace(ZERO, code="other"),), counts={"other": 1}),
    ],
)
def test_findings_that_contradict_their_counts_are_refused(lint: Lint, tmp_path: Path) -> None:
    save(_with(lint), tmp_path / "a.safetensors")
    with pytest.raises(Exception, match=r"weights\.lint"):
        load(tmp_path / "a.safetensors")
