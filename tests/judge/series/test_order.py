"""A pattern to checkpoints in the order of training, real folders and files; what has no order is refused."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.errors import InputError
from pytest_maxact.gate.sources import baselines_of, find, sources_of
from pytest_maxact.judge.series.order import Member, is_pattern, short_name, steps_of
from pytest_maxact.settings.settings import Settings


def folders(parent: Path, *names: str) -> Path:
    for name in names:
        (parent / name).mkdir(parents=True)
        (parent / name / "config.json").write_text("{}")
    return parent


def found(parent: Path, pattern: str = "*", **how: bool) -> list[tuple[str, int | None]]:
    return [(member.name, member.step) for member in find(str(parent / pattern), **how)]


# Steps


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["checkpoint-500", "checkpoint-1000"], [500, 1000]),
        (["qwen3-step-500", "qwen3-step-1000", "final"], [500, 1000, None]),
        (["final", "step-1"], [None, 1]),
        (["step-1", "final"], [1, None]),
        (["final"], [None]),
        (["a", "b"], [None, None]),
        ([], []),
        (["checkpoint-500"], [500]),
        (["0500", "1000"], [500, 1000]),
        (["5T", "10T", "20T"], [5, 10, 20]),
        (["epoch=0-step=500", "epoch=1-step=1000"], [500, 1000]),
        (["step500-loss2.31", "step1000-loss2.05"], [500, 1000]),
        (["2025-12-31-step-10", "2026-01-01-step-20"], [10, 20]),
        (["iter_0000500", "iter_0001000", "latest"], [500, 1000, None]),
        (["v1-10", "v2-20"], [10, 20]),
        (["qwen3-a", "qwen3-b"], [None, None]),
        (["step500-loss2.05", "final"], [500, None]),
        (["ckpt-7-a1b2", "ckpt-8-c3d4"], [None, None]),
        (["1.0", "2.0"], [1, 2]),
    ],
)
def test_the_step_is_the_number_that_differs(names: list[str], steps: list[int | None]) -> None:
    assert steps_of(names) == steps


@given(
    st.lists(st.integers(0, 10**9), min_size=1, unique=True),
    st.sampled_from(["step-{}", "{}", "qwen3-{}-hf", "a{}b"]),
    st.randoms(),
)
def test_steps_do_not_hang_on_the_order_of_names(steps: list[int], form: str, chance: random.Random) -> None:
    names = [form.format(step) for step in steps]
    chance.shuffle(order := list(range(len(names))))
    assert steps_of([names[i] for i in order]) == [steps_of(names)[i] for i in order]
    if len(steps) > 1:
        assert steps_of(names) == steps


@pytest.mark.parametrize(
    "names", [["epoch_0.5", "epoch_1.0", "epoch_1.5"], ["a1-b9", "a2-b8"], ["v2-10", "v1-20", "final"]]
)
def test_names_whose_numbers_disagree_have_no_order_and_are_refused(names: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        steps_of(names)
    assert str(caught.value).startswith(f"which number in {names[0]}, {names[1]} is the training step cannot be told")
    assert len(str(caught.value).splitlines()) == 2


# Members


def test_a_series_is_in_the_order_of_its_steps_and_final_comes_last(tmp_path: Path) -> None:
    folders(tmp_path, "checkpoint-1000", "checkpoint-500", "checkpoint-9", "final")
    assert found(tmp_path) == [("checkpoint-9", 9), ("checkpoint-500", 500), ("checkpoint-1000", 1000), ("final", None)]
    assert find(str(tmp_path / "f*")) == [Member(name="final", path=str(tmp_path / "final"), step=None)]


def test_final_comes_last_of_two_as_well(tmp_path: Path) -> None:
    folders(tmp_path, "final", "step-1")
    assert found(tmp_path) == [("step-1", 1), ("final", None)]


def test_names_with_numbers_that_are_built_differently_have_no_step_and_stand_in_natural_order(tmp_path: Path) -> None:
    folders(tmp_path, "checkpoint-500-a1b2", "checkpoint-1000-c3d4", "best")
    assert found(tmp_path) == [("checkpoint-500-a1b2", None), ("checkpoint-1000-c3d4", None), ("best", None)]


@pytest.mark.parametrize("pattern", ["checkpoint-*", "checkpoint-*/", "check*-[0-9]"])
@pytest.mark.parametrize(
    ("stranger", "reason"),
    [
        ("file", "it is a file"),
        ("link", r"it is a link that leads nowhere \(gone\)"),
        ("loop", "it is a link that leads"),
    ],
)
def test_a_match_that_is_no_checkpoint_is_refused_by_name(
    stranger: str, reason: str, pattern: str, tmp_path: Path
) -> None:
    folders(tmp_path, "checkpoint-1", "checkpoint-2")
    other = tmp_path / "checkpoint-3"
    {
        "file": lambda: other.write_text("a log"),
        "link": lambda: other.symlink_to("gone"),
        "loop": lambda: other.symlink_to(other.name),
    }[stranger]()
    with pytest.raises(InputError, match=f"checkpoint-3 matches .* and is no checkpoint: {reason}"):
        found(tmp_path, pattern)


def test_several_matches_that_are_no_checkpoints_are_all_named(tmp_path: Path) -> None:
    folders(tmp_path, "step-1")
    for name in ("step-2", "step-3"):
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=r"step-2 matches .* and is no checkpoint \(nor is step-3\): it is a file"):
        found(tmp_path, "step-*")


def test_a_link_on_the_way_of_a_pattern_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    folders(tmp_path, "step-1/hf", "step-2/hf")
    (tmp_path / "step-3").symlink_to("gone")
    with pytest.raises(InputError, match=r"step-3, on the way of .*, is a link that leads nowhere"):
        found(tmp_path, "step-*/hf*")


def test_a_link_to_a_checkpoint_is_a_member(tmp_path: Path) -> None:
    folders(tmp_path, "run/checkpoint-1", "elsewhere")
    (tmp_path / "run" / "checkpoint-2").symlink_to(tmp_path / "elsewhere")
    assert found(tmp_path, "run/checkpoint-*") == [("checkpoint-1", 1), ("checkpoint-2", 2)]


@pytest.mark.parametrize(
    ("make", "reason"), [("folder", "it is a folder"), ("link", "it is a link that leads nowhere")]
)
def test_a_match_that_is_no_record_is_refused_by_name(make: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "step-1.safetensors").write_text("")
    other = tmp_path / "step-2.safetensors"
    other.mkdir() if make == "folder" else other.symlink_to("gone")
    with pytest.raises(InputError, match=f"step-2.safetensors matches .* and is no Record: {reason}"):
        found(tmp_path, "step-*", records=True)


def test_a_folder_that_is_no_checkpoint_is_refused_rather_than_left_out(tmp_path: Path) -> None:
    folders(tmp_path, "checkpoint-1")
    (tmp_path / "checkpoint-2").mkdir()
    with pytest.raises(InputError) as caught:
        found(tmp_path, "checkpoint-*")
    assert str(caught.value).startswith(
        f"{tmp_path / 'checkpoint-2'} matches {tmp_path / 'checkpoint-*'} and is no checkpoint: it has no config.json"
    )


def test_nothing_that_matches_is_refused_with_what_did(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder matches .*/step-\*\n  quote the pattern"):
        found(tmp_path, "step-*")
    with pytest.raises(InputError, match=r"no Record matches .*step-\*\n.*written by `save`"):
        found(tmp_path, "step-*", records=True)


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    folders(tmp_path / "run1", "step-1", "step-2")
    folders(tmp_path / "run2", "step-2")
    with pytest.raises(InputError) as caught:
        found(tmp_path, "*/step-*")
    assert str(caught.value).startswith(
        f"{tmp_path / 'run1' / 'step-2'} and {tmp_path / 'run2' / 'step-2'} are both called step-2\n"
    )


def test_records_are_files_under_the_name_before_their_suffix(tmp_path: Path) -> None:
    for name in (
        "step-20.maxact.safetensors",
        "step-3.record.safetensors",
        "step-100.safetensors",
        "final.safetensors",
    ):
        (tmp_path / name).write_text("")
    assert found(tmp_path, "*.safetensors", records=True) == [
        ("step-3", 3),
        ("step-20", 20),
        ("step-100", 100),
        ("final", None),
    ]


def test_two_records_of_one_checkpoint_are_refused(tmp_path: Path) -> None:
    for name in ("step-1.safetensors", "step-1.maxact.safetensors"):
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="are both called step-1"):
        found(tmp_path, "*", records=True)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("step-1.maxact.safetensors", "step-1"),
        ("step-1.record.safetensors", "step-1"),
        ("step-1.safetensors", "step-1"),
        ("v1.5", "v1.5"),
        ("safetensors", "safetensors"),
        ("a.maxact", "a.maxact"),
    ],
)
def test_short_names(name: str, short: str) -> None:
    assert short_name(Path("somewhere") / name) == short


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path: Path) -> None:
    assert is_pattern(str(tmp_path / "step-*"))
    assert is_pattern("runs/step-[12]")
    assert not is_pattern("runs/step-1")
    folders(tmp_path, "step-[1]")
    assert not is_pattern(str(tmp_path / "step-[1]"))


# Sources


def test_sources_of_a_pattern_are_its_members(tmp_path: Path) -> None:
    folders(tmp_path, "step-2", "step-10", "final")
    sources = sources_of(Settings(model=str(tmp_path / "*")))
    assert [(source.name, source.path, source.step, source.is_record) for source in sources] == [
        ("step-2", str(tmp_path / "step-2"), 2, False), ("step-10", str(tmp_path / "step-10"), 10, False),
        ("final", str(tmp_path / "final"), None, False),
    ]  # fmt: skip


def test_the_only_checkpoint_has_no_name(tmp_path: Path) -> None:
    (source,) = sources_of(Settings(model="org/name", revision="abc"))
    assert (source.name, source.path, source.revision, source.is_record) == ("", "org/name", "abc", False)
    (source,) = sources_of(Settings(replay="a.safetensors"))
    assert (source.name, source.is_record) == ("", True)


def named(settings: Settings, taken: set[str] | None = None) -> list[str]:
    return [source.name for source in baselines_of(settings, taken or set())]


def test_baselines_are_called_by_their_short_names(tmp_path: Path) -> None:
    (tmp_path / "v1.safetensors").write_text("")
    folders(tmp_path, "v2")
    paths = (str(tmp_path / "v1.safetensors"), str(tmp_path / "v2"), "org/name", "org/name@0123456789abcdef")
    baselines = baselines_of(Settings(model="m", baseline=paths), set())
    assert [(b.name, b.is_record, b.path, b.revision) for b in baselines] == [
        ("v1", True, paths[0], None), ("v2", False, paths[1], None), ("name", False, "org/name", None),
        ("name@0123456789ab", False, "org/name", "0123456789abcdef"),
    ]  # fmt: skip


def test_a_baseline_never_has_the_name_of_another_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check compares by name: the baseline `step-1` beside the series' own `step-1` would stand in for it."""
    folders(tmp_path, "step-1", "runs/step-1", "runs/step-2", "other/step-1")
    monkeypatch.chdir(tmp_path)
    taken = {source.name for source in sources_of(Settings(model="runs/step-*"))}
    names = named(Settings(model="runs/step-*", baseline=("step-1", "other/step-1")), taken)
    assert names == [str(tmp_path / "step-1"), "other/step-1"]


def test_one_baseline_given_over_and_over_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders(tmp_path, "v1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"`baseline` \./\./v1: is given more than once"):
        baselines_of(Settings(model="m", baseline=("v1", "./v1", "././v1")), set())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            Settings(model="m", baseline=("runs/*",)),
            "runs/*: is a pattern, and a baseline is one Record or one checkpoint",
        ),
        (
            Settings(replay="r", baseline=("nowhere",)),
            "nowhere: no such file; beside `replay` a baseline is a Record's file",
        ),
        (Settings(replay="r", baseline=("runs/*",)), "runs/*: is a pattern"),
    ],
)
def test_a_baseline_is_one_thing_and_is_there(settings: Settings, said: str) -> None:
    with pytest.raises(InputError) as caught:
        baselines_of(settings, set())
    assert str(caught.value).startswith(f"`baseline` {said}")


def test_settings_of_a_source_are_the_runs_but_for_its_place() -> None:
    run = Settings(model="runs/*", revision="abc", dtype="fp32", baseline=("v1",))
    (source,) = sources_of(Settings(model="runs/step-1"))
    assert source.settings(run) == Settings(model="runs/step-1", dtype="fp32", baseline=("v1",))
    assert json.dumps(source.file).isascii()
