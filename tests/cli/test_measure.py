"""`maxact measure`: what it writes, and what it says."""

from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load, save
from tests.support import tiny
from tests.support.gate_runs import drop_tensor


def test_measure_says_what_it_wrote(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["measure", str(checkpoint), "-o", str(tmp_path / "r"), "--corpus", str(corpus), "--max-samples", "6"])
        == 0
    )
    captured = capsys.readouterr()
    assert f"{tmp_path / 'r'}: M 1" in captured.out
    assert "tokens, 14 sites" in captured.out
    assert "100 %" in captured.err


def test_what_cannot_be_measured_exits_with_1(tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.save(tmp_path / "partial", tiny.random_model("qwen3"))
    drop_tensor(folder, "layers.1.mlp.up_proj.weight")
    assert main(["measure", str(folder), "-o", str(tmp_path / "r"), "--corpus", str(corpus)]) == 1
    assert "could not measure" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_what_a_checkpoint_leaves_out_is_in_its_record(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    from tests.support.measuring import record_of

    folder = tiny.save(tmp_path / "wrapper", tiny.random_model("gemma3"))
    record = record_of(folder, corpus)
    assert "vision_tower: not part of the language backbone" in record.provenance.left_out
    assert load(_saved(record, tmp_path)).provenance.left_out == record.provenance.left_out


def _saved(record: Any, folder: Path) -> Path:
    save(record, folder / "record")
    return folder / "record"


LIMITS = "version: 1\nextends: builtin\nfamilies:\n  mine: {model_types: [qwen3], limits: {hidden: 100000}}\n"


def measure(checkpoint: Path, corpus: Path, folder: Path, *more: str) -> tuple[int, Path]:
    arguments = ["measure", str(checkpoint), "-o", str(folder / "r"), "--corpus", str(corpus), *more]
    return main(arguments), folder / "r"


def test_a_record_names_the_family_of_the_limits_that_were_given(
    checkpoint: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "limits.yaml").write_text(LIMITS)
    for more, family in [
        ((), "qwen3"),
        (("--limits", str(tmp_path / "limits.yaml")), "mine"),
        (("--limits", "~/limits.yaml"), "mine"),
        (("--limits", str(tmp_path / "limits.yaml"), "--family", "generic"), "generic"),
        (("--family", "qwen2"), "qwen2"),
    ]:
        status, path = measure(checkpoint, corpus, tmp_path, *more)
        assert (status, load(path).provenance.family) == (0, family)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--limits", "none.yaml"], "no limits file at none.yaml"),
        (["--family", "qwen33"], "--family qwen33: no such family"),
    ],
)
def test_limits_that_do_not_fit_are_refused_before_anything_is_measured(
    more: list[str], message: str, checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, path = measure(checkpoint, corpus, tmp_path, *more)
    assert status == 4
    assert message in capsys.readouterr().err
    assert not path.exists()


def test_limits_that_say_nothing_of_the_model_are_refused_where_they_were_given(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.save(tmp_path / "llama", tiny.random_model("llama"))
    limits = tmp_path / "limits.yaml"
    limits.write_text(LIMITS)
    assert measure(folder, corpus, tmp_path, "--limits", str(limits))[0] == 4
    assert "no limits for model_type 'llama'" in capsys.readouterr().err
    status, path = measure(folder, corpus, tmp_path)
    assert (status, load(path).provenance.family) == (0, None)


def test_a_source_is_compared_and_a_record_of_it_is_no_source_of_a_measurement(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["measure", str(checkpoint), "-o", str(tmp_path / "r"), "--corpus", str(corpus), "--max-samples", "6"]
    assert main([*given, "--source", str(checkpoint)]) == 0
    found = load(tmp_path / "r").source
    assert found is not None
    assert (found.form, found.weights.low, found.weights.changed) == ("", 0, {})
    assert main([*given, "--source", str(tmp_path / "r")]) == 4
    assert "is held against the checkpoint" in capsys.readouterr().err
