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
