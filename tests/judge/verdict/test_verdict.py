"""The verdict in one call guards what a run guards: what cannot be compared with a baseline is an error that names
it.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy.typing as npt
import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.file import parse_limits
from pytest_maxact.judge.verdict.verdict import require_sound, verdict
from pytest_maxact.numbers.probe import Probe
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.findings import checks_failing
from tests.support.waivers import SOON

CALM: Mapping[str, npt.ArrayLike] = {**records.CALM, "layers.0.mlp_in": [[1.0, -2.0, 0.5, 0.25]]}


def recorded(*without: str, **changes: object) -> Record:
    return records.record({name: values for name, values in CALM.items() if name not in without}, **changes)


def probed(record: Record) -> Record:
    probe = Probe(sample="s0", tokens=1, changed={"layer": 0.5}, sketch=(1, 2))
    return replace(record, sites={name: replace(reading, probe=probe) for name, reading in record.sites.items()})


def against(record: Record, baseline: Record) -> set[str]:
    """What is compared with a baseline by the shipped limits, by name."""
    findings = verdict(record, family="generic", baselines={"v1": baseline})
    return {finding.limit.metric.name for finding in findings if finding.limit.against == "v1"}


def test_every_baseline_is_compared_with_by_its_name() -> None:
    once, twice = recorded(), records.record({**CALM, "layers.0.hidden": [[4.0, 1.0, 2.0, -24.0]]})
    findings = verdict(twice, family="generic", baselines={"v1": once, "v2": twice})
    assert {finding.limit.against for finding in findings} == {"", "v1", "v2"}
    assert "layers.0.hidden::growth[v1]" in checks_failing(findings)
    assert not [check for check in checks_failing(findings) if "v2" in check]


def test_a_site_that_the_baseline_lacks_is_named() -> None:
    with pytest.raises(InputError) as caught:
        against(recorded(), recorded("layers.1.hidden", "final_norm", layers=2))
    assert str(caught.value) == (
        "v1 and the Record do not both have layers.1.hidden, so not all of it could be compared\n"
        "  give a baseline of the same architecture, measured with the same sites and schemes"
    )


@pytest.mark.parametrize("gone", ["layers.0.mlp_output", "final_norm"])
def test_a_site_that_only_the_baseline_has_is_named(gone: str) -> None:
    with pytest.raises(InputError, match=f"do not both have {gone}, so"):
        against(recorded(gone), recorded())


def test_linear_inputs_that_only_the_baseline_measured_are_no_matter() -> None:
    assert "growth" in against(recorded("layers.0.mlp_in"), recorded())
    with pytest.raises(InputError, match=r"do not both have layers\.0\.mlp_in"):
        against(recorded(), recorded("layers.0.mlp_in"))


@pytest.mark.parametrize(("own", "other"), [(("FP8", "W8A8"), ("FP8",)), (("W8A8",), ())])
def test_a_scheme_that_the_baseline_was_not_measured_under_is_named(
    own: tuple[str, ...], other: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match="do not both have W8A8"):
        against(recorded(schemes=own), recorded(schemes=other))
    assert "growth" in against(recorded(), recorded(schemes=own)), "more than is needed is no matter"


def test_a_site_is_named_before_a_scheme() -> None:
    with pytest.raises(InputError, match="do not both have final_norm"):
        against(recorded("final_norm", schemes=("W8A8",)), recorded())


def test_a_baseline_that_is_broken_is_named_with_its_first_site() -> None:
    broken = records.with_values(layers__0__hidden=[[float("nan"), 1.0, 2.0, 8.0]])
    with pytest.raises(MeasureError) as caught:
        require_sound("v1", broken)
    assert str(caught.value) == (
        "v1 is broken itself, layers.0.hidden has entries that are NaN or infinite, so nothing can be compared with it"
    )
    with pytest.raises(MeasureError, match="v1 is broken itself"):
        verdict(records.record(records.CALM), family="generic", baselines={"v1": broken})


def test_the_order_of_layers_is_compared_where_both_were_probed() -> None:
    plain = recorded()
    assert "turn" in against(probed(plain), probed(plain))
    assert "turn" not in against(plain, probed(plain))
    assert "turn" not in against(probed(plain), plain)


def test_distributions_are_compared_where_both_hold_them() -> None:
    whole = recorded()
    assert "shift" in against(whole, whole)
    assert "shift" not in against(summary(whole), whole)
    assert "shift" not in against(whole, summary(whole))


def test_what_a_model_does_is_checked_where_it_was_measured() -> None:
    def checked(record: Record) -> set[str]:
        try:
            return {finding.limit.check for finding in verdict(record, family="generic")}
        except MeasureError as error:
            return {str(error)}

    assert not {"predictions::margin", "layers.0.hidden::changed"} & checked(recorded())
    assert "layers.0.hidden::changed" in checked(probed(recorded()))
    assert "predictions::margin" not in checked(replace(recorded(), predictions=Predictions(by_design=True)))
    (told,) = checked(replace(recorded(), predictions=Predictions(unchecked="its head did not load")))
    assert told.startswith("the Record does not tell what the model predicts: its head did not load")


def test_a_family_and_its_protocol_decide_whose_limits_judge() -> None:
    record = recorded(model_type="llama", protocol="deployed")
    with pytest.raises(InputError, match="no limits for model_type 'llama'"):
        verdict(record)
    with pytest.raises(InputError, match="hold for protocol 'paper', the measurement is of protocol 'deployed'"):
        verdict(record, family="qwen3")
    assert {finding.limit.rule for finding in verdict(record, family="generic")} == {
        "every family", "generic: FP16 range",
    }  # fmt: skip
    own = "version: 1\nprotocol: {}\nfamilies: {{llama: {{model_types: [llama], limits: {{hidden: 4}}}}}}\n"
    assert verdict(record, parse_limits(own.format("deployed"), Path("own.yaml")))
    with pytest.raises(InputError, match="family 'llama' hold for protocol 'paper'"):
        verdict(record, parse_limits(own.format("paper"), Path("own.yaml")))


def test_waivers_of_the_files_let_pass_what_they_name() -> None:
    waived = (
        "version: 1\nextends: builtin\nwaive:\n  - {site: layers.1.hidden, metric: max_abs, reason: known, owner: ann,"
        f" until: {SOON}}}\n"
    )
    loud = records.with_values(layers__1__hidden=[[65536.0, 1.0, 2.0, 8.0]])
    assert checks_failing(verdict(loud, family="generic")) == ["layers.1.hidden::max_abs"]
    assert checks_failing(verdict(loud, parse_limits(waived, Path("limits.yaml")), family="generic")) == []
