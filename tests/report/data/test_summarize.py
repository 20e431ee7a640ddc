"""A Record as data: figures of every site, in strict JSON whatever was seen."""

import json
import math
from pathlib import Path

from pytest_maxact.judge.published import standing
from pytest_maxact.numbers.formats import integer_distortion
from pytest_maxact.record.file import load, save
from tests.support import records
from tests.support.findings import HIDDEN, holding
from tests.support.reports import data_of

SUMMARY_SITES = {
    "embedding": [[0.5, 1.0]],
    HIDDEN: [[4.0, -200.0]],
    "layers.0.gate": [[0.0, 0.0]],
    "final_norm": [[2.0, 1.5]],
}


def test_a_summary_says_where_the_maximum_is() -> None:
    summary = data_of(records.record(SUMMARY_SITES))
    assert summary["M"] == {"value": 200.0, "site": HIDDEN, "sample": "s0", "position": 0, "token": "t0", "channel": 1}
    assert (summary["model"], summary["family"], summary["protocol"], summary["tokens"]) == (
        "somebody/model",
        "qwen3",
        "paper",
        2,
    )
    assert summary["published"] == standing(200.0, "qwen3")
    assert summary["fp16"] == {"fits": None, "sites_beyond": []}


def test_a_summary_holds_the_figures_of_every_site() -> None:
    record = records.record(SUMMARY_SITES)
    summary = data_of(record)
    assert list(summary["sites"]) == list(SUMMARY_SITES)
    for name, reading in record.sites.items():
        data, whole = summary["sites"][name], reading.histogram
        assert (data["kind"], data["layer"], data["width"], data["elements"]) == (
            reading.site.kind,
            reading.site.layer,
            2,
            4,
        )
        assert (data["max_abs"], data["nonfinite"], data["rms"], data["mean_abs"]) == (
            whole.max_abs,
            0,
            whole.rms,
            whole.mean_abs,
        )
        assert data["quantiles"] == {
            "0.5": whole.quantile(0.5),
            "0.99": whole.quantile(0.99),
            "0.999": whole.quantile(0.999),
        }
        assert set(data["int8"]) == {"max_abs", "clip_q0.999"}
        error = integer_distortion(reading.calibration, reading.evaluation, "max_abs")
        assert data["int8"]["max_abs"]["threshold"] == error.threshold
        assert data["int8"]["max_abs"]["flush_to_zero"] == error.flush_to_zero
        assert data["top"][0]["value"] == reading.peaks[0].value


def test_a_summary_is_strict_json_whatever_was_seen() -> None:
    """An SQNR is infinite where nothing was lost, a maximum where nothing was finite: JSON has neither."""
    values = SUMMARY_SITES | {"final_norm": [[math.nan, math.inf]], "embedding": [[3.3895313892515355e38, 0.0]]}
    summary = data_of(records.record(values, left_out=("*.router",), experts=None))
    assert summary["sites"]["layers.0.gate"]["int8"]["max_abs"]["sqnr_db"] is None
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["fp16"]["sites_beyond"] == ["embedding", "final_norm"]


def test_a_summary_of_nothing_finite_has_no_place_for_its_maximum() -> None:
    summary = data_of(holding(math.nan))
    assert summary["M"] == {
        "value": None,
        "site": HIDDEN,
        "sample": None,
        "position": None,
        "token": None,
        "channel": None,
    }
    assert summary["sites"][HIDDEN]["nonfinite"] == 2
    json.dumps(summary, allow_nan=False)


def test_a_summary_of_a_loaded_record_is_the_same(tmp_path: Path) -> None:
    record = records.record(SUMMARY_SITES)
    save(record, tmp_path / "r.safetensors")
    assert data_of(load(tmp_path / "r.safetensors")) == data_of(record)
