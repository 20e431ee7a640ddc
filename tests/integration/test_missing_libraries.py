"""A report whose library is missing is refused before anything is measured, at every door, with what to install."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.report.libraries import CARD, PAGE
from tests.support.gate_runs import run_gate

CALLED = {"vl_convert": "vl-convert-python"}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Take a library away, with all that was imported of it."""

    def take_away(module: str) -> None:
        for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, module, None)

    return take_away


@pytest.mark.parametrize("door", ["judge", "report"])
@pytest.mark.parametrize("module", PAGE)
def test_a_command_names_what_the_page_takes(
    module: str, door: str, without: Callable[[str], None], saved: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    page = tmp_path / "page.html"
    asked = ["judge", str(saved), "--html", str(page)] if door == "judge" else ["report", str(saved), "-o", str(page)]
    without(module)
    assert main(asked) == 4
    said = capsys.readouterr().err
    assert f"the page takes {CALLED.get(module, module)}, which is not installed" in said
    assert "pip install 'pytest-maxact[report]'" in said
    assert f"pip install {' '.join(sorted(CALLED.get(one, one) for one in PAGE))}" in said
    assert "Error" not in said
    assert not page.exists()


@pytest.mark.parametrize("module", PAGE)
def test_pytest_names_it_before_it_measures(
    module: str, without: Callable[[str], None], checkpoint: Path, pytester: pytest.Pytester
) -> None:
    without(module)
    run_gate(
        pytester, f"--maxact-model={checkpoint}", "--maxact-html=page.html", "--maxact-sarif=r.sarif",
        refuses=f"the page takes {CALLED.get(module, module)}, which is not installed",
        complaints=["*pip install 'pytest-maxact?report?'*"],
    )  # fmt: skip
    assert [name for name in ("page.html", "r.sarif") if (pytester.path / name).exists()] == []


@pytest.mark.parametrize("module", CARD)
def test_a_card_names_its_own(
    module: str, without: Callable[[str], None], saved: Path, pytester: pytest.Pytester,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    without(module)
    for asked in (["card", str(saved), "-o", "README.md"], ["judge", str(saved), "--card", "README.md"]):
        assert main(asked) == 4
        assert f"takes {module}, which is not installed\n  pip install {module}" in capsys.readouterr().err
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-card=README.md", refuses=f"pip install {module}")
    assert not (pytester.path / "README.md").exists()
    assert main(["card", str(saved), "--bom", "bom.json"]) == 0
