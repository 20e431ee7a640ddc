"""The folder that commands and code of the docs find themselves in: a checkpoint, limits, and Records by the names that
the docs give them.
"""

import os
import shutil
from pathlib import Path

import pytest

from pytest_maxact.record.file import save
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.paths import TRAINED
from tests.support.trained import STEPS, record_of

LIMITS = "version: 1\nextends: builtin\n"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    new, old = record_of(TRAINED), record_of(STEPS[3600])
    for name in ("run", "new", "accepted-1", "run.maxact", "records/run"):
        _put(new, folder / f"{name}.safetensors")
    for name in ("old", "old.maxact", "accepted-2"):
        _put(old, folder / f"{name}.safetensors")
    for place in (folder, folder / "runs"):
        _put(old, place / "checkpoint-3600.maxact.safetensors")
        _put(new, place / "checkpoint-4500.maxact.safetensors")
    _put(record_of(TRAINED, sites="deploy", schemes=("W8A8", "FP8")), folder / "deploy.safetensors")
    _put(record_of(TRAINED, sites="attention"), folder / "attended.safetensors")
    for i in (1, 2):
        values = {name: [[0.5, i]] for name in ("embedding", "layers.0.hidden", "final_norm")}
        _put(records.record_of([records.Measured(id=f"s{i}", values=values)]), folder / f"part-{i}.safetensors")
    (folder / "limits").mkdir()
    (folder / "limits" / "release.yaml").write_text(LIMITS)
    for name in ("DIR", "checkpoints/latest"):
        shutil.copytree(TRAINED, folder / name)
    return folder


@pytest.fixture
def here(prepared: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the prepared folder, which is the current one; outside CI, where limits may be written."""
    shutil.copytree(prepared, pytester.path, copy_function=os.link, dirs_exist_ok=True)
    (pytester.path / "limits.yaml").write_text(LIMITS)
    monkeypatch.delenv("CI", raising=False)
    return pytester.path


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and written, and not rendered, which takes a second each."""
    drawn = b"a figure of pytest-maxact"
    monkeypatch.setattr("pytest_maxact.report.figures.printed.rendered", lambda spec, form: drawn)


def _put(record: Record, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    save(record, path)
