"""Accepted Records become limits in a person's file: they pass it, comments survive, and what a person stated stays
unless all is asked for.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.file import builtin_path, load_limits, parse_limits
from pytest_maxact.judge.limits.limit import CARRIER, Limit
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.suggest.propose import Proposal, propose
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.record import Record
from tests.support.records import Measured, bf16, record, record_of, seen
from tests.support.records import reading as reading_of

SQNR = f"{CARRIER}::int8.max_abs.sqnr_db"
OWN = """\
version: 1   # ours
extends: builtin
families:
  # the model of the house
  qwen3:
    shapes:
      - name: House
        checkpoints: ["v1"]
        layers: 2
        hidden_size: 4
        limits:
          embedding:  1.5    # seen in May
          hidden:     10

  # another
  mine:
    model_types: [mine]
    limits: {hidden: 5}
"""


MEASURED = f"{{corpus: built-in, sha256: {seen().provenance.corpus_sha256[:12]}, tokens: 2, dtype: bfloat16}}"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(OWN)
    return path


def limits_of(text: str, one: Record) -> dict[str, Limit]:
    rules = select_rules(
        parse_limits(text, Path("mine.yaml")), identity_of(one.provenance), [r.site for r in one.sites.values()]
    )
    return {limit.check: limit for limit in rules.limits}


def failures(text: str, one: Record) -> list[Finding]:
    return [finding for finding in judge(one, limits_of(text, one).values()) if not finding.passed]


def moved(proposal: Proposal) -> list[str]:
    """Lines that the diff takes out and puts in."""
    return [line for line in proposal.diff().splitlines()[2:] if line[0] in "+-"]


def refusal(records: list[Record], path: Path | None, mode: str = "all", **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        propose(records, path, mode=mode, **options)
    return str(caught.value)


# A new file


@pytest.mark.parametrize("mode", ["new", "all"])
def test_a_new_file_extends_the_shipped_one_and_holds_the_shape(mode: str, tmp_path: Path) -> None:
    one = seen(model="org/house")
    proposal = propose([one], tmp_path / "mine.yaml", mode=mode)
    assert (proposal.is_new, proposal.changed, proposal.before) == (True, True, "")
    sqnr = proposal.evidence[0].sqnr_figure
    assert (
        proposal.after == "version: 1\n"
        "extends: builtin\n"
        "families:\n"
        "  qwen3:\n"
        "    shapes:\n"
        "      - name: house\n"
        "        checkpoints: [house]\n"
        f"        source: {proposal.evidence[0].source}\n"
        f"        measured: {MEASURED}\n"
        "        layers: 2\n"
        "        hidden_size: 4\n"
        "        limits: {embedding: 1, hidden: 8, gate: 2.5, final_norm: 3}\n"
        f"        int8: {{site: carrier, policy: max_abs, sqnr_db: {sqnr}}}\n"
    )
    assert proposal.diff().splitlines()[:3] == ["--- /dev/null", f"+++ {tmp_path / 'mine.yaml'}", "@@ -0,0 +1,13 @@"]
    limits = limits_of(proposal.after, one)
    assert limits["layers.0.hidden::max_abs"].bound == 10
    assert limits["layers.0.hidden::max_abs"].source == "1 Record, no spread seen"
    assert not any(limit.envelope for limit in limits.values())


def test_a_family_that_nobody_knows_lists_its_model_type() -> None:
    one = seen(model_type="llama")
    proposal = propose([one], None, mode="new")
    assert "  llama:\n    model_types: [llama]\n    shapes:\n" in proposal.after
    assert failures(proposal.after, one) == []


def test_a_family_of_the_shipped_file_keeps_its_model_types_and_its_other_shapes() -> None:
    after = propose([seen()], None, mode="all").after
    other = whole(layers=36, hidden_size=4096)
    shipped = {
        limit.check: limit for limit in select_rules(load_limits(), identity_of(other.provenance), _sites(other)).limits
    }
    assert limits_of(after, other) == shipped
    moe = seen(model_type="qwen3_moe")
    assert limits_of(after, moe)["layers.0.hidden::max_abs"].rule == "envelope of family qwen3_moe: Qwen3-30B-A3B"


def test_limits_under_the_deployed_protocol_stand_alone() -> None:
    one = seen(protocol="deployed")
    after = propose([one], None, mode="new").after
    assert after.startswith("version: 1\nprotocol: deployed\nfamilies:\n  qwen3:\n    model_types: [qwen3]\n")
    assert failures(after, one) == []


def test_a_published_shape_has_limits_so_new_adds_nothing(tmp_path: Path) -> None:
    one = whole(layers=36, hidden_size=4096)
    proposal = propose([one], tmp_path / "mine.yaml", mode="new")
    assert (proposal.changed, proposal.diff()) == (False, "")
    proposal.write()
    assert not (tmp_path / "mine.yaml").exists()
    after = propose([one], None, mode="all").after
    limits = limits_of(after, one)
    assert (limits["layers.0.hidden::max_abs"].figure, limits["layers.0.hidden::max_abs"].file) == (2.5, "mine.yaml")
    assert limits[SQNR].file == "mine.yaml"


def test_what_a_published_shape_lacks_is_added_beside_the_published_figures() -> None:
    one = whole(model_type="qwen2", layers=28, hidden_size=1536)
    after = propose([one], None, mode="new").after
    assert "        limits: {}\n        int8: {site: carrier" in after
    limits = limits_of(after, one)
    assert (limits["layers.0.hidden::max_abs"].figure, limits["layers.0.hidden::max_abs"].file) == (
        7968,
        str(builtin_path()),
    )


def test_a_site_without_a_limit_among_limited_ones_is_added_by_name() -> None:
    """The shipped figure of gate is that of the first layer alone; one for the kind would override it."""
    one = whole(model_type="bailing_moe", layers=20, hidden_size=2048)
    after = propose([one], None, mode="new").after
    assert "        layer_limits:\n          layers.1.gate: {gate: 2.5}\n" in after
    assert limits_of(after, one)["layers.0.gate::max_abs"].figure == 4.34375


def test_several_shapes_go_into_one_file() -> None:
    records = [seen(), seen(16.0, hidden_size=8), seen(32.0, model_type="llama")]
    after = propose(records, None, mode="all").after
    assert [failures(after, one) for one in records] == [[], [], []]
    assert after.count("- name:") == 3
    assert after.count("  qwen3:") == 1


# A person's file


def test_new_adds_what_has_no_limit_and_leaves_every_other_line(own: Path) -> None:
    proposal = propose([seen(model="org/v2")], own, mode="new")
    sqnr = proposal.evidence[0].sqnr_figure
    assert moved(proposal) == [
        '-        checkpoints: ["v1"]',
        "+        checkpoints: [v1, v2]",
        "+          gate: 2.5",
        "+          final_norm: 3",
        f"+        int8: {{site: carrier, policy: max_abs, sqnr_db: {sqnr}}}",
    ]


def test_figures_of_single_checkpoints_are_not_lost_to_a_list_of_names(own: Path) -> None:
    stated = "checkpoints: {v1: {max_abs: 8, carrier: layers.1.hidden}}"
    own.write_text(OWN.replace('checkpoints: ["v1"]', stated))
    proposal = propose([seen(model="org/v2")], own, mode="new")
    assert proposal.changed
    assert stated in proposal.after
    assert "checkpoints: [v2]" in propose([seen(model="org/v2")], own, mode="all").after, "all figures are set anew"


def test_all_sets_every_figure_of_the_shape_and_leaves_every_other_line(own: Path) -> None:
    proposal = propose([seen(model="org/v2")], own, mode="all")
    assert moved(proposal)[:5] == [
        '-        checkpoints: ["v1"]',
        "+        checkpoints: [v2]",
        f"+        source: {proposal.evidence[0].source}",
        f"+        measured: {MEASURED}",
        "-          embedding:  1.5    # seen in May",
    ]
    assert "+          embedding:  1    # seen in May" in moved(proposal)
    assert "+          hidden:     8" in moved(proposal)
    for comment in ("# ours", "# the model of the house", "# seen in May", "# another"):
        assert comment in proposal.after
    assert "\n\n  # another\n  mine:\n    model_types: [mine]\n" in proposal.after


def test_new_puts_no_figures_beside_those_of_other_text(own: Path) -> None:
    digest = seen().provenance.corpus_sha256
    for sha256, said in ((digest[:12], False), (digest, False), (digest[:8], False), ("0" * 12, True)):
        own.write_text(
            OWN.replace(
                "layers: 2",
                f"layers: 2\n        measured: {{corpus: built-in, sha256: '{sha256}', tokens: 2, dtype: bfloat16}}",
            )
        )
        if said:
            text = refusal([seen()], own, "new")
            assert text.startswith(
                f"shape House of family qwen3 was measured on 2 tokens of built-in ({sha256}) in bfloat16, these"
                " Records on 2 tokens"
            )
            assert f"({digest[:12]}) in bfloat16; nothing was written" in text
            assert f"measured: {MEASURED}" in propose([seen()], own, mode="all").after
        else:
            assert "final_norm: 3" in propose([seen()], own, mode="new").after


def test_a_block_that_is_meant_to_do_nothing_needs_a_waiver_before_limits(own: Path) -> None:
    sites = {
        "embedding": [[1.0]],
        "layers.0.hidden": [[8.0]],
        "layers.0.mlp_output": [[0.0]],
        "layers.1.hidden": [[8.0]],
        "layers.1.mlp_output": [[4.0]],
    }
    dead = record({**sites, "final_norm": [[3.0]]}, layers=2, hidden_size=4, model="org/dead")
    for waiver in (
        "",
        "waive: [{site: 'layers.*', metric: max_abs, reason: large, owner: me, until: 2999-01-01, up_to: 100}]\n",
    ):
        own.write_text(OWN + waiver)
        text = refusal([dead], own)
        assert text.startswith(
            "org/dead would pass no limit; nothing was written:\n  layers.0.mlp_output: every entry is zero"
        )
        assert f"say so in {own}: `waive:` with site layers.0.mlp_output, metric max_abs and up_to 0" in text
    own.write_text(
        f"{OWN}waive: [{{site: layers.0.mlp_output, metric: max_abs, reason: meant, owner: me, until: 2999-01-01,"
        " up_to: 0}]\n"
    )
    assert propose([dead], own, mode="all").changed
    own.write_text(
        f"{OWN}waive: [{{site: layers.0.mlp_output, checkpoint: v1, metric: max_abs, reason: meant, owner: me, until:"
        " 2999-01-01, up_to: 0}]\n"
    )
    assert propose([dead], own, mode="all", labels=["v1"]).changed
    assert "would pass no limit" in refusal([dead], own)


def test_all_may_loosen_and_new_may_not(own: Path) -> None:
    louder = seen(100.0)
    assert limits_of(propose([louder], own, mode="all").after, louder)["layers.1.hidden::max_abs"].figure == 100
    text = refusal([louder], own, "new")
    assert text.startswith(
        f"somebody/model would not pass {own}; nothing was written:\n  layers.1.hidden: max_abs 100 at sample s0"
    )
    assert text.endswith("\n  change that limit by hand if it is wrong, or do not accept the Record")
    assert own.read_text() == OWN


@pytest.mark.parametrize("mode", ["new", "all"])
@pytest.mark.parametrize("per_layer", [False, True])
def test_what_was_written_is_not_proposed_again(mode: str, per_layer: bool, own: Path) -> None:
    records = [seen(8.0), seen(10.0)]
    propose(records, own, mode=mode, per_layer=per_layer).write()
    assert not propose(records, own, mode=mode, per_layer=per_layer).changed
    assert not propose(records, own, mode="new").changed


def test_a_shape_is_added_to_a_family_of_ones_own(own: Path) -> None:
    proposal = propose([seen(layers=2, hidden_size=8, model="org/wide")], own, mode="new")
    assert all(line.startswith("+") for line in moved(proposal))
    assert "          hidden:     10\n      - name: wide\n" in proposal.after
    assert "\n\n  # another\n" in proposal.after


def test_figures_by_layer_have_exact_names() -> None:
    one = seen(8.0)
    after = propose([one], None, mode="all", per_layer=True).after
    assert (
        "        layer_limits:\n          embedding: {embedding: 1}\n          layers.0.hidden: {hidden: 2}\n" in after
    )
    limits = limits_of(after, one)
    assert (limits["layers.0.hidden::max_abs"].figure, limits["layers.1.hidden::max_abs"].figure) == (2, 8)
    assert len(failures(after, seen(8.0, first=2.5))) == 0
    assert [f.site for f in failures(after, seen(8.0, first=4.0))] == ["layers.0.hidden"]


def test_patterns_of_the_shape_are_set_too(own: Path) -> None:
    own.write_text(
        OWN.replace(
            "\n  # another",
            '        layer_limits:\n          "layers.[01].hidden": {hidden: 99}  # early\n\n  # another',
            1,
        )
    )
    proposal = propose([seen()], own, mode="all")
    assert '+          "layers.[01].hidden": {hidden: 8}  # early' in moved(proposal)
    assert '"layers.[01].hidden": {hidden: 99}  # early' in propose([seen()], own, mode="new").after


def test_patterns_of_the_family_stay_and_are_noted(own: Path) -> None:
    own.write_text(OWN.replace("    shapes:", "    layers: {layers.0.hidden: {hidden: 3}}\n    shapes:", 1))
    proposal = propose([seen()], own, mode="all", per_layer=True)
    assert proposal.notes == ("families.qwen3.layers 'layers.0.hidden' stays as it is, and holds at 1 of the sites",)
    assert limits_of(proposal.after, seen())["layers.0.hidden::max_abs"].figure == 3
    assert "layers.0.hidden" not in proposal.after.replace("layers: {layers.0.hidden: {hidden: 3}}", "")
    assert refusal([seen(first=4.0)], own).startswith("somebody/model would not pass ")


def test_a_limit_of_the_family_is_a_stated_one(own: Path) -> None:
    own.write_text("version: 1\nfamilies:\n  house: {model_types: [qwen3], limits: {hidden: 10}}\n")
    after = propose([seen()], own, mode="new").after
    assert "limits: {embedding: 1, gate: 2.5, final_norm: 3}" in after
    assert limits_of(after, seen())["layers.0.hidden::max_abs"].rule == "family house"


def test_a_file_that_only_extends_is_given_families(own: Path) -> None:
    own.write_text("# ours\nversion: 1\nextends: builtin")
    proposal = propose([seen()], own, mode="new")
    assert proposal.after.startswith("# ours\nversion: 1\nextends: builtin\nfamilies:\n  qwen3:\n")
    assert "\\ No newline at end of file" in proposal.diff()


def test_a_missing_line_end_is_marked_as_patch_expects(own: Path) -> None:
    own.write_text(OWN.rstrip("\n"))
    assert "\\" not in propose([seen()], own, mode="all").diff(), "the last line is not in the diff"
    own.write_text(OWN.rstrip("\n").replace("    limits: {hidden: 5}", "    limits: {hidden: 5}\n    shapes: []"))
    lines = propose([seen(model_type="mine")], own, mode="all").diff().splitlines()
    at = lines.index("-    shapes: []")
    assert lines[at + 1].startswith("\\ No newline at end of file")
    assert lines[-1] == "\\ No newline at end of file"


def test_line_ends_of_windows_survive(own: Path) -> None:
    own.write_bytes(OWN.replace("\n", "\r\n").encode())
    propose([seen()], own, mode="all").write()
    written = own.read_bytes()
    assert written.count(b"\n") == written.count(b"\r\n")
    assert load_limits(own)[0].document.families["qwen3"].shapes[0].limits["hidden"] == 8


def test_inputs_of_linear_layers_are_limited_only_where_a_person_does(own: Path) -> None:
    one = seen(kind="qkv_in")
    assert "qkv_in" not in propose([one], own, mode="all").after
    own.write_text(OWN.replace("hidden:     10", "hidden:     10\n          qkv_in: 50"))
    assert "\n          qkv_in: 2.5\n" in propose([one], own, mode="all").after
    assert "\n          qkv_in: 50\n" in propose([one], own, mode="new").after


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


# Refusals


def test_the_shipped_limits_are_never_written(tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(builtin_path())
    for path in (builtin_path(), link):
        assert (
            refusal([seen()], path)
            == f"{path} holds the shipped limits, which stay as they were published\n  give a file of your own with"
            " `limits`"
        )


def test_a_record_of_another_protocol_than_the_files_is_refused(own: Path) -> None:
    text = refusal([seen(protocol="deployed")], own)
    assert (
        text
        == f"{own} holds limits for protocol 'paper', somebody/model was measured under 'deployed'\n  keep a limits"
        " file for each protocol"
    )
    assert "holds limits for protocol 'paper'" in refusal([seen(), seen(hidden_size=8, protocol="deployed")], None)


def test_a_file_that_is_no_limits_file_is_refused(own: Path) -> None:
    own.write_text("version: 1\nfamilys: {}\n")
    assert refusal([seen()], own).startswith(f"{own}:2: familys: unknown key")
    own.write_text("")
    assert refusal([seen()], own).startswith(f"{own}:1: a limits file is a mapping")
    own.write_bytes(b"\xff")
    assert refusal([seen()], own).startswith(f"cannot read the limits file {own}: ")
    assert refusal([seen()], own.parent).startswith(f"cannot read the limits file {own.parent}: ")


def test_a_family_of_the_models_name_that_does_not_list_it_is_refused(own: Path) -> None:
    own.write_text("version: 1\nfamilies:\n  qwen3: {limits: {hidden: 9}}\n")
    assert (
        refusal([seen()], own)
        == f"{own}:3: family 'qwen3' does not list model_type 'qwen3'\n  add it: `model_types: [qwen3]`"
    )


def test_a_check_that_would_be_gone_is_refused(own: Path) -> None:
    """Of an envelope a shape takes over what it states; this one states INT-8 under another policy."""
    own.write_text(
        "version: 1\n"
        "families:\n"
        "  house:\n"
        "    model_types: [qwen3]\n"
        "    envelope: {headroom: 2}\n"
        "    shapes:\n"
        "      - {name: A, layers: 9, hidden_size: 9, limits: {hidden: 9}, int8: {policy: optimal, sqnr_db: "
        "1}}\n"
    )
    text = refusal([seen()], own)
    assert text.startswith(
        f"{own}: carrier::int8.optimal.sqnr_db (envelope of family house: A) would no longer be checked for this shape"
    )


def test_a_stated_limit_that_new_would_change_is_refused(own: Path) -> None:
    stated = '        layer_limits: {"layers.0.gate": {gate: 4}}\n\n  # another'
    own.write_text(OWN.replace("\n  # another", stated, 1).replace("hidden:     10", "hidden:     16"))
    wide = [seen(8.0), _scaled(seen(8.0), "layers.1.gate", 3.0)]
    text = refusal(wide, own, "new")
    assert text.startswith(
        f"{own}: layers.0.gate::max_abs is limited to 5 (pattern layers.0.gate), and would be to 12; nothing was"
        " written\n"
    )


def test_new_does_not_lift_a_model_over_the_envelope_that_it_breaches(tmp_path: Path) -> None:
    loud = seen(2.0**17)
    text = refusal([loud], tmp_path / "mine.yaml", "new")
    assert (
        text == f"{tmp_path / 'mine.yaml'}: layers.0.hidden::max_abs is limited to 70656 (envelope of family qwen3:"
        " Qwen3-32B), and would be to 163840; nothing was written\n"
        "  mode new changes no stated limit and loosens none; use `update` all"
    )
    assert failures(propose([loud], None, mode="all").after, loud) == []


def test_a_limit_that_shares_an_anchor_is_refused_with_its_line(own: Path) -> None:
    own.write_text(
        "version: 1\n"
        "families:\n"
        "  house:\n"
        "    model_types: [qwen3]\n"
        "    shapes:\n"
        "      - {name: A, layers: 9, hidden_size: 9, limits: &same {hidden: 9, embedding: 2}}\n"
        "      - {name: B, layers: 2, hidden_size: 4, limits: *same}\n"
    )
    assert "cannot be set without a change elsewhere, as with anchors or merge keys" in refusal([seen()], own)


def test_a_record_that_cannot_be_judged_is_not_accepted(own: Path) -> None:
    own.write_text(OWN.replace("hidden:     10", "hidden:     10\n        int8: {sqnr_db: 5}"))
    single = record_of([Measured(id="s", values={"layers.0.hidden": [[8.0, 0.375]], "embedding": [[1.0, 0.5]]})])
    with pytest.raises(MeasureError, match="nothing was counted there"):
        propose([single], own, mode="all")


# Writing


def test_a_file_is_written_whole_through_a_link_with_its_rights(own: Path, tmp_path: Path) -> None:
    own.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(own)
    proposal = propose([seen()], link, mode="all")
    proposal.write()
    assert link.is_symlink()
    assert own.read_text() == proposal.after
    assert own.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "mine.yaml"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_file_that_changed_meanwhile_is_not_overwritten(exists: bool, own: Path) -> None:
    if not exists:
        own.unlink()
    proposal = propose([seen()], own, mode="all")
    own.write_text(OWN + "# mine\n")
    with pytest.raises(InputError) as caught:
        proposal.write()
    assert (
        str(caught.value)
        == f"{own} changed while limits for it were proposed; nothing was written\n  run the command again"
    )
    assert own.read_text() == OWN + "# mine\n"


def test_a_place_that_cannot_be_written_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    proposal = propose([seen()], tmp_path / "none" / "mine.yaml", mode="all")
    with pytest.raises(InputError) as caught:
        proposal.write()
    assert (
        str(caught.value) == f"cannot write {tmp_path / 'none' / 'mine.yaml'}: No such file or directory\n"
        "  give a path in a folder that exists and may be written"
    )
    assert os.listdir(tmp_path) == []


def test_without_a_file_there_is_nothing_to_write_to() -> None:
    with pytest.raises(InputError, match=r"^no limits file was named to write to\n  give one with `limits` FILE$"):
        propose([seen()], None, mode="all").write()


# Whatever was accepted passes


_magnitudes = st.floats(min_value=2.0**-60, max_value=2.0**60).map(lambda value: float(bf16(value)))
_seen = st.fixed_dictionaries(
    dict.fromkeys(
        ("embedding", "layers.0.hidden", "layers.1.hidden", "layers.0.gate", "layers.1.gate", "final_norm"), _magnitudes
    )
)
_begun = st.sampled_from(
    [
        None,
        "version: 1\nextends: builtin\n",
        OWN,
        OWN.replace("extends: builtin\n", "headroom: 1.0\n").replace(
            "  qwen3:\n", "  qwen3:\n    model_types: [qwen3]\n"
        ),
        (
            "version: 1\n"
            "extends: builtin\n"
            "families: {qwen3: {shapes: [{name: A, layers: 2, hidden_size: 4, limits: {hidden: 1}}]}}\n"
        ),
    ]
)


@settings(deadline=None, max_examples=60)
@given(st.lists(_seen, min_size=1, max_size=3), _begun, st.booleans())
def test_accepted_records_always_pass_the_file(
    maxima: list[dict[str, float]], begun: str | None, per_layer: bool
) -> None:
    records = [record({name: [[value, value / 4, value / 512]] for name, value in one.items()}) for one in maxima]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        if begun is not None:
            path.write_text(begun)
        propose(records, path, mode="all", per_layer=per_layer).write()
        written = path.read_text()
        assert not propose(records, path, mode="all", per_layer=per_layer).changed
    for one in records:
        assert failures(written, one) == []
        limits = limits_of(written, one)
        for name, reading in one.sites.items():
            figure = limits[f"{name}::max_abs"].figure
            assert figure is not None
            assert reading.max_abs <= figure, "it would pass at headroom 1 too"


def whole(**changes: Any) -> Record:
    """A Record with a site of every kind that a dense model has in either of two layers."""
    kinds = ("hidden", "attn_output", "mlp_output", "gate")
    values = {f"layers.{layer}.{kind}": [[2.5, 0.375]] for layer in (0, 1) for kind in kinds}
    return record({"embedding": [[0.25, 0.375]], **values, "final_norm": [[3.0, 0.375]]}, **changes)


def _sites(one: Record) -> list[Any]:
    return [reading.site for reading in one.sites.values()]


def _scaled(one: Record, site: str, factor: float) -> Record:
    """The Record with one site's entries multiplied."""
    largest = one[site].max_abs * factor
    return replace(one, sites={**one.sites, site: reading_of([largest, 0.375], [largest, 0.375], site)})
