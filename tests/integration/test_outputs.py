"""The gate never destroys: every place that is written to is looked at before anything is measured."""

import hashlib
import shutil
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load
from tests.support.gate_runs import run_gate


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "free.safetensors", "sub/../x"])
def test_a_record_is_not_written_into_the_checkpoint_under_test(
    name: str, copy: Path, corpus: Path, pytester: pytest.Pytester
) -> None:
    before = contents(copy)
    run_gate(
        pytester,
        f"--maxact-model={copy}",
        f"--maxact-corpus={corpus}",
        f"--maxact-save={copy / name}",
        refuses="is a checkpoint of this run",
        lacks=["passed", "measur"],
    )
    assert contents(copy) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--maxact-cache={model}/cache"],
        ["--maxact-update=all", "--maxact-limits={model}/limits.yaml"],
        ["--maxact-save={link}/model.safetensors"],
        ["--maxact-save={baseline}/r", "--maxact-baseline={baseline}"],
        ["--maxact-save={corpus}"],
        ["--maxact-save={saved}/deep"],
        ["--maxact-save=/dev/null"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_would_destroy_or_change_something_is_a_usage_error_before_measuring(
    arguments: list[str],
    copy: Path,
    corpus: Path,
    checkpoint: Path,
    saved: Path,
    tmp_path: Path,
    pytester: pytest.Pytester,
) -> None:
    (tmp_path / "link").symlink_to(copy)
    places = {"model": copy, "link": tmp_path / "link", "baseline": checkpoint, "corpus": corpus, "saved": saved}
    before = [contents(folder) for folder in (copy, checkpoint, corpus.parent, saved.parent)]
    given = [argument.format(**places) for argument in arguments]
    run_gate(
        pytester,
        f"--maxact-model={copy}",
        f"--maxact-corpus={corpus}",
        *given,
        refuses="cannot be written to",
        lacks=["passed"],
    )
    assert [contents(folder) for folder in (copy, checkpoint, corpus.parent, saved.parent)] == before


def test_a_record_does_not_take_the_place_of_the_baseline_that_it_is_compared_with(
    copy: Path, corpus: Path, saved: Path, tmp_path: Path, pytester: pytest.Pytester
) -> None:
    old = Path(shutil.copy(saved, tmp_path / "old.safetensors"))
    (tmp_path / "link").symlink_to(old)
    common = [f"--maxact-model={copy}", f"--maxact-corpus={corpus}", f"--maxact-baseline={old}"]
    for target in (old, tmp_path / "link", copy / ".." / old.name):
        run_gate(pytester, *common, f"--maxact-save={target}", refuses="it is the baseline of this run")
    assert old.read_bytes() == saved.read_bytes()


def test_the_records_of_a_series_go_into_no_member_and_over_no_other_file(
    checkpoint: Path, corpus: Path, tmp_path: Path, pytester: pytest.Pytester
) -> None:
    for step in (1, 2):
        shutil.copytree(checkpoint, tmp_path / f"run/step-{step}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/step-2.maxact.safetensors").write_text("mine")
    common = [f"--maxact-model={tmp_path}/run/step-*", f"--maxact-corpus={corpus}"]
    before = contents(tmp_path)
    for target, reason in (
        ("run/step-1", "is a checkpoint of this run"),
        ("run/step-1/records", "is a checkpoint of this run"),
        ("out", "there is a file of another kind"),
        ("none/deep", "there is no folder"),
    ):
        run_gate(pytester, *common, f"--maxact-save={tmp_path / target}", refuses=reason)
    assert contents(tmp_path) == before


def test_a_record_replaces_a_record(copy: Path, corpus: Path, saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "r.safetensors"
    shutil.copy(saved, target)
    assert main(["measure", str(copy), "-o", str(target), "--corpus", str(corpus), "--max-samples", "4"]) == 0
    assert len(load(target).provenance.samples) == 4


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "new"])
def test_no_command_writes_into_a_checkpoint(
    name: str, copy: Path, saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(copy)
    monkeypatch.chdir(copy)
    for command in (
        ["measure", str(copy), "-o", name],
        ["merge", str(saved), "-o", str(copy / name)],
        ["export", str(saved), "--smoothquant", name],
        ["export", str(saved), "--scales", "FP8", f"../{copy.name}/{name}"],
        ["suggest", str(saved), "--limits", name, "--update", "all"],
    ):
        assert main(command) == 4
        assert "Traceback" not in capsys.readouterr().err
    assert contents(copy) == before


def test_a_cache_of_pytests_inside_the_checkpoint_is_not_used(
    copy: Path, corpus: Path, checkpoint: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy)
    (copy / "pytest.ini").write_text("[pytest]\n")
    run_gate(pytester, "--maxact-model=.", f"--maxact-corpus={corpus}", f"--maxact-baseline={checkpoint}", exit=0)
    assert not list(copy.rglob("*.record.safetensors"))
