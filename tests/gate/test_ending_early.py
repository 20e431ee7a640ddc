"""A run whose pass may end early: it waits for the sites that its limits bind, and is refused where how much text it
has must be known beforehand.
"""

from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.gate.measuring import measure_source, nothing_shown
from pytest_maxact.gate.opening import open_run
from pytest_maxact.judge.limits.limit import Limit, bound_sites
from pytest_maxact.judge.remarks import unwatched_remark
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.records import sites


@pytest.mark.parametrize(
    ("pattern", "asked", "why"),
    [
        ("5", {"strict": True}, "`strict` refuses too little text"),
        ("*", {}, "each checkpoint of a series would end elsewhere"),
    ],
)
def test_what_has_to_know_its_text_beforehand_is_refused_by_name(
    pattern: str, asked: dict[str, Any], why: str, tmp_path: Path
) -> None:
    for step in (5, 10):
        tiny.save(tmp_path / f"checkpoint-{step}", tiny.random_model("qwen3"))
    model = str(tmp_path / f"checkpoint-{pattern}")
    with pytest.raises(InputError) as caught:
        open_run(Settings(model=model, until_saturated=100, **asked))
    assert why in caught.value.worded(lambda field: f"`{field}`")


def limit_of(site: str, metric: str) -> Limit:
    return Limit(
        site=site, metric=Metric.parse(metric), bound=1.0, sense="max", rule="r", source="", file="f.yaml", line=1
    )


def test_a_site_is_bound_by_a_figure_and_not_by_what_every_site_is_held_to() -> None:
    known = sites(2)
    everywhere = [limit_of(site.name, "nonfinite") for site in known]
    routed = limit_of("layers.0.router", "unreached_experts")
    assert bound_sites([*everywhere, routed], known) == ()
    figures = [
        limit_of("layers.1.hidden", "max_abs"), limit_of("layers.0.gate", "int8.max_abs.sqnr_db"),
        limit_of("carrier", "max_abs"), limit_of("embedding", "rms"), limit_of("weights", "nonfinite"),
        limit_of("hunt", "max_abs"), limit_of("layers.7.hidden", "max_abs"),
    ]  # fmt: skip
    assert bound_sites([*everywhere, *figures], known) == ("carrier", "embedding", "layers.0.gate", "layers.1.hidden")


def test_a_gate_waits_for_what_its_limits_bind_and_says_of_which_others_it_did_not(tmp_path: Path) -> None:
    model = tiny.save(tmp_path / "qwen3", tiny.random_model("qwen3"))
    text = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences([6, 9, 7, 5, 8, 6] * 20))
    limits = tmp_path / "limits.yaml"
    limits.write_text(
        "version: 1\nprotocol: paper\nfamilies:\n  qwen3:\n    model_types: [qwen3]\n    limits:\n      hidden: 900\n",
        encoding="utf-8",
    )
    asked = Settings(model=str(model), corpus=str(text), limits=str(limits), batch_tokens=32, until_saturated=120)
    opened = open_run(asked)
    (subject,) = opened.plan.subjects
    record = measure_source(subject.source, asked, subject.rules, None, None, nothing_shown)
    stopped = record.provenance.stopped
    assert stopped is not None
    assert stopped.watched == bound_sites(subject.rules.limits, [one.site for one in record.sites.values()])
    assert stopped.watched == tuple(f"layers.{layer}.hidden" for layer in range(3))
    assert list(unwatched_remark(record, subject.rules.limits)) == []
    other = limit_of("layers.1.gate", "max_abs")
    (remark,) = unwatched_remark(record, [*subject.rules.limits, other])
    assert "did not wait for 1 site that limits bind, the first layers.1.gate" in remark
