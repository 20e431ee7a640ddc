"""Accepted Records become limits in a person's file: they pass it, comments survive, and what a person stated stays
unless all is asked for.
"""

from pathlib import Path

import pytest

from pytest_maxact.errors import neutral, worded
from pytest_maxact.judge.limits.file import builtin_path, load_limits
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.suggest.propose import propose
from pytest_maxact.record.identity import identity_of
from tests.support.proposals import MEASURED, OWN, SQNR, _sites, failures, limits_of, moved, refusal, whole
from tests.support.published import as_published
from tests.support.records import record, seen, site, sites
from tests.support.waivers import SOON

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
        "        headroom: 1.25\n"
        "        limits: {embedding: 1, hidden: 8, gate: 2.5, final_norm: 3}\n"
        f"        int8: {{site: carrier, policy: max_abs, sqnr_db: {sqnr}}}\n"
    )
    assert proposal.diff().splitlines()[:3] == ["--- /dev/null", f"+++ {tmp_path / 'mine.yaml'}", "@@ -0,0 +1,14 @@"]
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
    one = as_published("qwen2", 28, 1536)
    after = propose([one], None, mode="new").after
    assert "        limits: {}\n        int8: {site: carrier" in after
    limits = limits_of(after, one)
    assert (limits["layers.0.hidden::max_abs"].figure, limits["layers.0.hidden::max_abs"].file) == (
        14.8125,
        str(builtin_path()),
    )


def test_a_site_without_a_limit_among_limited_ones_is_added_by_name() -> None:
    """The shipped figure of gate is that of the first layer alone; one for the kind would override it."""
    one = as_published("bailing_moe", 20, 2048, only=[*sites(2), site("layers.2.hidden")])
    after = propose([one], None, mode="new").after
    assert "        layer_limits:\n          layers.1.gate: {gate: 1}\n" in after
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
        "waive: [{site: 'layers.*', everything: true, metric: max_abs, reason: large, owner: me, "
        f"until: {SOON}, up_to: 100}}]\n",
    ):
        own.write_text(OWN + waiver)
        text = refusal([dead], own)
        assert text.startswith(
            "org/dead would pass no limit; nothing was written:\n  layers.0.mlp_output: every entry is zero"
        )
        assert f"say so in {own}: `waive:` with site layers.0.mlp_output, metric max_abs and up_to 0" in text
    own.write_text(
        f"{OWN}waive: [{{site: layers.0.mlp_output, metric: max_abs, reason: meant, owner: me, until: {SOON},"
        " up_to: 0}]\n"
    )
    assert propose([dead], own, mode="all").changed
    own.write_text(
        f"{OWN}waive: [{{site: layers.0.mlp_output, checkpoint: v1, metric: max_abs, reason: meant, owner: me, until:"
        f" {SOON}, up_to: 0}}]\n"
    )
    assert propose([dead], own, mode="all", labels=["v1"]).changed
    assert "would pass no limit" in refusal([dead], own)


def test_nothing_is_loosened_unless_it_is_asked_for(own: Path) -> None:
    louder = seen(100.0)
    proposal = propose([louder], own, mode="all", loosen=True)
    assert limits_of(proposal.after, louder)["layers.1.hidden::max_abs"].figure == 100
    assert proposal.diff().startswith("LOOSENED: hidden 12.5 -> 125 (2 sites, the first layers.0.hidden)\n--- ")
    for mode in ("new", "all"):
        text = refusal([louder], own, mode)
        assert text.startswith(
            f"somebody/model would not pass {own}; nothing was written:\n  layers.1.hidden: max_abs 100 at sample s0"
        )
        assert text.endswith("stands in docs/limits.md")
    assert own.read_text() == OWN


def test_what_would_be_loosened_of_a_record_that_passes_stays_and_is_told(own: Path) -> None:
    own.write_text(OWN.replace("hidden:     10", "hidden:     10\n          final_norm: 100"))
    values = {"embedding": 0.25, "layers.0.hidden": 12.0, "layers.1.hidden": 12.0, "final_norm": 3.0}
    closer = record({site: [[value, 0.375]] for site, value in values.items()})
    proposal = propose([closer], own, mode="all")
    limits = limits_of(proposal.after, closer)
    assert limits["layers.1.hidden::max_abs"].bound == 12.5, "it passes, and would get a limit of 15"
    assert limits["final_norm::max_abs"].bound < 100, "what tightens is set"
    assert "hidden 12.5 -> 15 (2 sites, the first layers.0.hidden) would be a loosening; `loosen` sets it" in [
        worded(note, neutral) for note in proposal.notes
    ]
    assert not proposal.looser
    assert "LOOSENED" not in proposal.diff()


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
    lines = propose([seen(model_type="mine")], own, mode="all", loosen=True).diff().splitlines()
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
