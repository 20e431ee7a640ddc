"""`maxact figures`: a Record's figures as files, which take the place of nothing else; no torch is imported."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import save
from tests.support import records
from tests.support.records import CALM


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "run.safetensors"
    save(records.record(CALM, model_type="llama"), path)
    return path


def test_figures_are_files_of_a_folder_and_replace_only_their_own_kind(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "plots"
    assert main(["figures", str(record), "--format", "svg", "-o", str(folder)]) == 0
    told = capsys.readouterr()
    assert {"heat.svg", "trajectory.svg", "scale.svg", "massive.svg"} <= {path.name for path in folder.iterdir()}
    assert "experts is not drawn: the model has no routed experts" in told.err
    assert "drawn without limits: no limits for model_type 'llama'" in told.err
    assert main(["figures", str(record), "--format", "svg", "-o", str(folder)]) == 0
    (folder / "scale.svg").write_text("<svg>mine</svg>")
    before = (folder / "heat.svg").stat().st_mtime_ns
    assert main(["figures", str(record), "--format", "svg", "-o", str(folder)]) == 4
    assert "there is a file of another kind" in capsys.readouterr().err
    assert (folder / "scale.svg").read_text() == "<svg>mine</svg>"
    assert (folder / "heat.svg").stat().st_mtime_ns == before


@pytest.mark.parametrize("where", ["a file", "a file/plots", "protected", "protected/plots"])
def test_a_folder_that_cannot_be_had_is_told_before_anything_is_drawn(
    where: str, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pytest_maxact.report.figures.every.every_of", lambda drawn: pytest.fail("it was drawn"))
    (tmp_path / "a file").write_text("mine")
    (tmp_path / "protected").mkdir(mode=0o555)
    assert main(["figures", str(record), "-o", str(tmp_path / where)]) == 4
    told = capsys.readouterr()
    assert "the figures cannot be written to" in told.err
    assert "\n  give " in told.err
    assert not told.out
    assert not list((tmp_path / "protected").iterdir())


def test_where_figures_lie_is_told_once_they_do_and_obeyed_by_nobody(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["figures", str(record), "--format", "svg", "-o", "::error::x"]) == 0
    assert list(Path("::error::x").iterdir())
    assert "::error" not in {one[:7] for one in capsys.readouterr().out.split()}
    monkeypatch.setattr(
        "pytest_maxact.record.output.write_output", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    assert main(["figures", str(record), "--format", "svg", "-o", "plots"]) == 4
    told = capsys.readouterr()
    assert "not all figures were written to plots: No space left\n  free space there" in told.err
    assert not told.out


def test_limits_that_were_asked_for_and_do_not_speak_are_an_error(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figures", str(record), "--family", "nobody", "-o", str(tmp_path / "plots")]) == 4
    assert "no such family" in capsys.readouterr().err


def test_a_missing_library_is_named_with_what_to_install(
    record: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "pytest_maxact.report.libraries.find_spec", lambda name: None if name == "vl_convert" else find(name)
    )
    assert main(["figures", str(record)]) == 4
    assert "pip install 'pytest-maxact[report]'" in capsys.readouterr().err


def test_no_torch_is_imported(record: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pytest_maxact.cli.main import main; "
        f"main(['figures', {str(record)!r}, '--format', 'svg', '-o', {str(tmp_path / 'plots')!r}]); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
