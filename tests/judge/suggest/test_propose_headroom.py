"""Bounds of INT-8 and headroom of a proposal cover what the Records spread over."""

from pathlib import Path

import pytest

from pytest_maxact.judge.suggest.propose import propose
from tests.support.proposals import OWN, SQNR, _scaled, failures, limits_of
from tests.support.records import record, seen

# INT-8


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("{sqnr_db: 5}", "{sqnr_db: FIGURE}"),
        ("[{sqnr_db: 5, max_rel_rmse: 0.5}]", "[{sqnr_db: FIGURE, max_rel_rmse: 0.5}]"),
        ("{max_rel_rmse: 0.5}", "{max_rel_rmse: 0.5, sqnr_db: FIGURE}"),
        (
            "{policy: optimal, sqnr_db: 1}",
            "[{policy: optimal, sqnr_db: 1}, {site: carrier, policy: max_abs, sqnr_db: FIGURE}]",
        ),
        (
            "[{site: embedding, sqnr_db: 1}]",
            "[{site: embedding, sqnr_db: 1}, {site: carrier, policy: max_abs, sqnr_db: FIGURE}]",
        ),
        ("{min_sqnr_db: 9}", "{min_sqnr_db: 9}"),
    ],
)
def test_the_int8_rule_of_the_carrier_is_set_and_other_rules_stay(stated: str, expected: str, own: Path) -> None:
    own.write_text(OWN.replace("hidden:     10", f"hidden:     10\n        int8: {stated}"))
    proposal = propose([seen()], own, mode="all")
    assert f"        int8: {expected.replace('FIGURE', str(proposal.evidence[0].sqnr_figure))}\n" in proposal.after
    assert failures(proposal.after, seen()) == []


def test_an_int8_bound_and_rules_of_the_family_stay_and_are_noted(own: Path) -> None:
    own.write_text(OWN.replace("hidden:     10", "hidden:     10\n        int8: {min_sqnr_db: 9}"))
    assert propose([seen()], own, mode="all").notes == (
        "INT-8: min_sqnr_db 9 of shape House is a bound, no figure, and stays as it is",
    )
    own.write_text(OWN.replace("    shapes:", "    int8: {min_sqnr_db: 9, max_rel_rmse: 0.4}\n    shapes:", 1))
    proposal = propose([seen()], own, mode="all")
    assert proposal.notes == ("INT-8: families.qwen3.int8 holds for all of its shapes and stays as it is",)
    assert limits_of(proposal.after, seen())[SQNR].bound == 9


def test_an_sqnr_that_is_not_finite_is_noted(own: Path) -> None:
    lossless = record({"layers.0.hidden": [[8.0, 8.0]], "layers.1.hidden": [[8.0, 8.0]]}, model="org/x")
    proposal = propose([lossless], None, mode="all")
    assert proposal.notes == ("INT-8: x has no finite SQNR, so no limit on it",)
    assert "int8" not in proposal.after


# Headroom


def test_a_spread_beyond_the_files_headroom_widens_that_kind_alone() -> None:
    records = [seen(8.0), seen(16.0)]
    after = propose(records, None, mode="all").after
    (line,) = (line for line in after.splitlines() if "headroom:" in line)
    assert line.startswith("        headroom: {hidden: 2")
    limits = limits_of(after, records[0])
    assert (limits["layers.0.hidden::max_abs"].headroom, limits["layers.0.gate::max_abs"].headroom) == (2, 1.25)


def test_a_later_record_within_the_spread_passes_and_one_beyond_fails() -> None:
    after = propose([seen(8.0), seen(16.0)], None, mode="all").after
    maxima = {f.site for f in failures(after, seen(32.0)) if f.limit.metric.name == "max_abs"}
    assert maxima == set()
    maxima = {f.site for f in failures(after, seen(32.25)) if f.limit.metric.name == "max_abs"}
    assert maxima == {"layers.1.hidden"}


def test_the_spread_in_db_is_covered() -> None:
    records = [seen(8.0), seen(64.0)]
    proposal = propose(records, None, mode="all")
    low, high = sorted(proposal.evidence[0].sqnr_db)
    bound = limits_of(proposal.after, records[0])[SQNR].bound
    assert low - (high - low) - 0.02 < bound <= low - (high - low)


def test_by_layer_the_spread_of_every_site_is_covered() -> None:
    records = [seen(8.0, first=1.0), seen(8.0, first=4.0)]
    plain, by_layer = (propose(records, None, mode="all", per_layer=per_layer).after for per_layer in (False, True))
    assert limits_of(plain, records[0])["layers.0.hidden::max_abs"].headroom == 1.25
    assert limits_of(by_layer, records[0])["layers.0.hidden::max_abs"].bound == 16


def test_one_record_keeps_the_headroom_that_was_found_before(own: Path) -> None:
    own.write_text(OWN.replace("        limits:", "        headroom: {hidden: 1.7}\n        limits:", 1))
    assert limits_of(propose([seen()], own, mode="all").after, seen())["layers.0.hidden::max_abs"].headroom == 1.7


def test_several_records_replace_an_earlier_spread_but_not_a_persons_tighter_margin(own: Path) -> None:
    records = [seen(8.0), seen(8.0)]
    for stated, kept in (("{hidden: 1.7}", 1.25), ("{hidden: 1.1}", 1.1), ("1.1", 1.1), ("2.0", 1.25)):
        own.write_text(OWN.replace("        limits:", f"        headroom: {stated}\n        limits:", 1))
        after = propose(records, own, mode="all").after
        assert limits_of(after, records[0])["layers.0.hidden::max_abs"].headroom == kept, stated


def test_a_new_kind_with_a_wide_spread_leaves_the_margins_of_stated_figures(own: Path) -> None:
    own.write_text(OWN.replace("hidden:     10", "hidden:     16\n        int8: {sqnr_db: 5}"))
    records = [seen(8.0, kind="gate"), _scaled(seen(8.0, kind="gate"), "final_norm", 3.0)]
    before, after = limits_of(OWN, records[0]), propose(records, own, mode="new").after
    limits = limits_of(after, records[0])
    assert limits["final_norm::max_abs"].headroom == 3
    assert limits["embedding::max_abs"].bound == before["embedding::max_abs"].bound
    assert limits[SQNR].headroom == 1.25
    assert "        headroom: {final_norm: 3, int8: 1.25}\n" in after


# Numbers that a person wrote, without a headroom

PLAIN = OWN.replace("headroom: 1.25\n", "")


def test_a_new_kind_has_headroom_beside_numbers_that_have_none(own: Path) -> None:
    own.write_text(PLAIN.replace("hidden:     10", "hidden:     10\n        int8: {sqnr_db: 5}"))
    after = propose([seen()], own, mode="new").after
    assert "        headroom: {gate: 1.25, final_norm: 1.25, int8: 1.0}\n" in after
    limits = limits_of(after, seen())
    found = {name: limits[f"{name}::max_abs"].bound for name in ("embedding", "layers.0.hidden", "layers.0.gate")}
    assert found == {"embedding": 1.5, "layers.0.hidden": 10, "layers.0.gate": 3.125}
    assert limits[SQNR].bound == 5
    own.write_text(after)
    assert not propose([seen()], own, mode="new").changed


def test_all_sets_figures_with_a_headroom_that_is_written(own: Path) -> None:
    own.write_text(PLAIN)
    after = propose([seen()], own, mode="all").after
    assert "        headroom: 1.25\n" in after
    assert {limits_of(after, seen())[f"layers.{i}.hidden::max_abs"].bound for i in (0, 1)} == {10}
    assert "hidden:     8" in after


def test_what_measured_figures_would_loosen_of_a_persons_numbers_is_told_and_not_written(own: Path) -> None:
    own.write_text(PLAIN.replace("hidden:     10", "hidden:     8"))
    proposal = propose([seen()], own, mode="all")
    assert any(note.startswith("hidden 8 -> 10 ") for note in proposal.notes)
    assert limits_of(proposal.after, seen())["layers.0.hidden::max_abs"].bound == 8
