"""The portrait of a Record says what the Record says, and nothing better."""

import math
from dataclasses import replace

from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.site_figures import figures_of
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.record.metrics.metric import INT8_SQNR, MAX_ABS
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.stages import HIDDEN, MLP, limit, stage

SOUND, BROKEN = stage(4.0, massive=3).record, stage(math.nan).record


def test_every_site_has_a_row_in_depth_order() -> None:
    rows = portray(SOUND).rows
    assert [row.site.name for row in rows] == list(SOUND.sites)
    assert [row.max_abs for row in rows] == [reading.max_abs for reading in SOUND.sites.values()]
    assert all((row.limit, row.failing, row.waived) == (None, (), ()) for row in rows)


def test_int8_is_of_the_residual_stream_and_of_what_fails() -> None:
    calm = {row.site.name: row.int8_sqnr_db for row in portray(SOUND).rows}
    assert calm[HIDDEN] == metric_value(SOUND[HIDDEN], INT8_SQNR)
    assert calm[MLP] is None
    failing = portray(SOUND, findings=[check(SOUND, limit(1.0, MLP))])
    assert {row.site.name: row.int8_sqnr_db for row in failing.rows}[MLP] == metric_value(SOUND[MLP], INT8_SQNR)


def test_a_layer_without_a_residual_stream_has_its_first_site_for_it() -> None:
    record = records.record({"embedding": [[1.0]], "layers.0.attn_output": [[2.0]], "layers.0.mlp_output": [[4.0]]})
    known = [row.site.kind for row in portray(record).rows if row.int8_sqnr_db is not None]
    assert known == ["embedding", "attn_output"]


def test_a_row_shows_the_limit_on_its_maximum_and_any_check_that_fails() -> None:
    findings = [check(SOUND, limit(8.0)), check(SOUND, limit(0.5, MLP, "rms"))]
    rows = {row.site.name: row for row in portray(SOUND, findings=findings).rows}
    assert findings[0].limit.metric == MAX_ABS
    assert (rows[HIDDEN].limit, rows[HIDDEN].usage, rows[HIDDEN].failing) == (8.0, 0.5, ())
    assert (rows[MLP].limit, [metric.name for metric in rows[MLP].failing]) == (None, ["rms"])


def test_what_is_not_finite_is_nowhere_a_figure() -> None:
    portrait = portray(BROKEN)
    assert portrait.m.nonfinite
    assert portrait.m.value == math.inf
    assert portrait.m.site.name == HIDDEN
    assert not portrait.fp16.fits
    assert portrait.fp16.beyond == (HIDDEN,)
    assert portrait.broken is not None
    assert (portrait.broken.entries, portrait.broken.sites, portrait.broken.first) == (2, 1, HIDDEN)
    (row,) = [row for row in portrait.rows if row.site.name == HIDDEN]
    assert (row.max_abs, row.nonfinite) == (math.inf, 2)
    assert row.int8_sqnr_db is not None
    assert math.isnan(row.int8_sqnr_db)
    assert "not comparable" in portrait.m.standing


def test_massive_layers_and_experts_are_summed_up() -> None:
    massive = portray(SOUND).massive
    assert massive is not None
    assert (massive.layers, massive.first, massive.last, massive.site, massive.tokens) == (1, 31, 31, HIDDEN, 3)
    assert portray(BROKEN).massive is None
    assert portray(SOUND).experts is None
    experts = portray(routed((3, 0, 0, 1), (1, 1, 1, 0))).experts
    assert experts is not None
    assert (experts.experts, experts.layers, experts.unreached, experts.most) == (8, 2, 3, "layers.0.router")
    assert experts.which == "2 of 4 experts (1, 2)"
    reached = portray(routed((1, 1), (2, 2))).experts
    assert reached is not None
    assert (reached.unreached, reached.most, reached.which) == (0, "", "")


def routed(*given: tuple[int, ...]) -> Record:
    names = [f"layers.{layer}.router" for layer in range(len(given))]
    record = records.record({"embedding": [[1.0]], **{name: [[1.0]] for name in names}})
    sites = dict(record.sites)
    for name, tokens in zip(names, given, strict=True):
        sites[name] = replace(sites[name], tokens_per_expert=tokens)
    return replace(record, sites=sites)


def test_without_limits_nothing_of_them_is_said() -> None:
    portrait = portray(SOUND)
    assert (portrait.limits, portrait.deploy, portrait.against, portrait.slack) == (None, (), (), None)


def test_figures_are_those_of_every_site() -> None:
    figures = figures_of(SOUND)
    assert [one.site.name for one in figures] == list(SOUND.sites)
    for one in figures:
        assert one.int8["max_abs"].sqnr_db == metric_value(SOUND[one.site.name], INT8_SQNR)
        assert one.max_abs == SOUND[one.site.name].max_abs
