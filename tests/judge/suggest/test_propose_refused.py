"""Proposals that are refused, and files that are written whole or stay as they were."""

import os
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.file import builtin_path
from pytest_maxact.judge.suggest.propose import propose
from tests.support.proposals import OWN, _scaled, failures, refusal
from tests.support.records import Measured, record_of, seen

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
    assert refusal([seen()], own.parent).startswith(f"the limits file {own.parent} is a folder, and no file")


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
        "  mode new changes no stated limit and loosens none; use `update` all with `loosen`"
    )
    assert failures(propose([loud], None, mode="all", loosen=True).after, loud) == []


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
