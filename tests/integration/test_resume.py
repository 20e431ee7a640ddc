"""A run of the gate that was broken off goes on where it was, and says so; `--maxact-resume off` begins anew."""

from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from tests.support.gate_runs import run_gate

BROKEN_OFF = """
import math
from pathlib import Path

import pytest
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.resume import bookmarks

folder = Path(__file__).parent
patch = pytest.MonkeyPatch()
forward, log = Observer.forward, folder / "batches.txt"

def noted(self, planned, *args, **kwargs):
    with log.open("a") as file:
        file.write(planned.sequences[0].sample.id + " ")
    if (folder / "break").exists() and len(log.read_text().split()) == 4:
        (folder / "break").unlink()
        raise KeyboardInterrupt
    return forward(self, planned, *args, **kwargs)

def pytest_configure(config):
    patch.setattr(Observer, "forward", noted)
    patch.setattr(bookmarks, "SHARE", math.inf)
    patch.setattr(bookmarks, "NOT_BEFORE", 0.0)

def pytest_unconfigure(config):
    patch.undo()
"""
"""Bookmarks after every batch, of which each is noted; and once, a break in the fourth."""


def ran(pytester: pytest.Pytester) -> list[str]:
    return (pytester.path / "batches.txt").read_text().split()


@pytest.mark.parametrize("where", ["pytest", "cache", "off"])
def test_a_run_that_was_broken_off_goes_on(
    where: str, pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.makeconftest(BROKEN_OFF)
    (pytester.path / "break").touch()
    given = [f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--maxact-batch-tokens=16"]
    given += {"pytest": [], "cache": ["--maxact-cache=kept"], "off": ["--maxact-resume=off"]}[where]
    kept = pytester.path / ("kept" if where == "cache" else ".pytest_cache/d/maxact")
    with pytest.raises(KeyboardInterrupt):
        run_gate(pytester, *given)
    assert len(list(kept.glob(".pass.*.bookmark"))) == (where != "off")
    says = [] if where == "off" else ["the measurement went on after "]
    run_gate(pytester, *given, "--maxact-save=on.safetensors", exit=0, says=says)
    batches = ran(pytester)
    assert len(batches) > 6
    again = [batch for batch in set(batches) if batches.count(batch) > 1]
    assert len(again) == (4 if where == "off" else 1), "the batch that was cut short, or all of them"
    assert not list(kept.glob(".pass.*"))
    run_gate(pytester, *given, "--maxact-resume=off", "--maxact-save=anew.safetensors", exit=0, lacks=["went on"])
    assert (pytester.path / "on.safetensors").read_bytes() == (pytester.path / "anew.safetensors").read_bytes()


def test_what_is_no_answer_is_refused(pytester: pytest.Pytester, checkpoint: Path) -> None:
    run_gate(pytester, f"--maxact-model={checkpoint}", "--maxact-resume=perhaps", refuses="is not one of on, off")


def test_the_command_leaves_nothing_beside_its_record(tmp_path: Path, checkpoint: Path, corpus: Path) -> None:
    target = tmp_path / "out" / "a.safetensors"
    target.parent.mkdir()
    assert main(["measure", str(checkpoint), "-o", str(target), "--corpus", str(corpus)]) == 0
    assert [path.name for path in target.parent.iterdir()] == ["a.safetensors"]
