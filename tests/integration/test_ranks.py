"""The gate under torchrun: two ranks over gloo share what is measured, one of them reports, and one that fails or is
killed fails the run with its number and cause.
"""

import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pytest_maxact.record.file import load
from pytest_maxact.record.reading import distributions_of
from tests.support.headed import headed
from tests.support.measuring import record_of
from tests.support.torchrun import torchrun

pytestmark = pytest.mark.usefixtures("warm_children")
OWN = """
import os
from pathlib import Path

def test_own(maxact_record):
    assert maxact_record.tokens == 87
    with open("ran.txt", "a") as file:
        file.write(os.environ["RANK"])
"""
KILLED = """
import os, signal
from pytest_maxact.measure.observe.observer import Observer

if os.environ.get("RANK") == "1":
    keep = Observer.keep

    def killed(self, planned):
        keep(self, planned)
        os.kill(os.getpid(), signal.SIGKILL)

    Observer.keep = killed
"""
UNREADABLE = """
import os
from pytest_maxact.errors import InputError
from pytest_maxact.measure import assist

if os.environ.get("RANK") == "1":
    def load(*args):
        raise InputError("model.safetensors cannot be read\\n  see that this machine has it")

    assist.load = load
"""
BOOKMARKS = """
import math, os, signal
from pathlib import Path
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.resume import bookmarks

bookmarks.SHARE, bookmarks.NOT_BEFORE = math.inf, 0.0
folder, rank, ran = Path(__file__).parent, os.environ["RANK"], []
forward = Observer.forward

def noted(self, planned, *args, **kwargs):
    if rank == "1" and len(ran) == 1 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    ran.append(planned.sequences[0].sample.id)
    with (folder / f"batches{rank}").open("a") as file:
        file.write(ran[-1] + " ")
    return forward(self, planned, *args, **kwargs)

Observer.forward = noted
"""
"""Bookmarks after every batch, of which each is noted; and once, a kill of rank 1 before its second."""
SCHEMES = ("W8A8", "W8A8_STATIC", "FP16")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return headed(tmp_path_factory.mktemp("ranks") / "moe", model_type="qwen3_moe", mlp_only_layers=[2])


def gate(folder: Path, model: Path, corpus: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    return torchrun(
        folder, "pytest", f"--maxact-model={model}", f"--maxact-corpus={corpus}", "--maxact-batch-tokens=24",
        "--maxact-family=generic", *more,
    )  # fmt: skip


def test_the_record_is_that_of_one_process_and_rank_0_alone_reports(model: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN)
    run = gate(
        tmp_path, model, corpus, "--maxact-save=run.safetensors", "--junitxml=run.xml",
        f"--maxact-schemes={','.join(SCHEMES)}", "--maxact-effect=W8A8", "--deselect=maxact::predictions::margin",
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("test session starts") == 1
    assert "maxact: 2 ranks share what is measured; tests of your own run on rank 0 alone" in run.stdout
    assert run.stdout.count("maxact: the verdict") == 1
    assert (tmp_path / "ran.txt").read_text() == "0"
    one = record_of(model, corpus, batch_tokens=24, schemes=SCHEMES, effect=("W8A8",))
    two = load(tmp_path / "run.safetensors")
    assert replace(two.provenance, family=None) == one.provenance
    assert (two.predictions, two.scores, two.weights) == (one.predictions, one.scores, one.weights)
    assert two.effects.keys() == one.effects.keys() == {"W8A8"}
    for name, reading in one.sites.items():
        ours, theirs = distributions_of(two[name]), replace(distributions_of(reading), int8=None)
        assert replace(two[name], held=theirs) == replace(reading, held=theirs), name
        assert replace(ours, schemes={}) == replace(theirs, schemes={}), name
        for scheme, sums in theirs.schemes.items():
            for key, value in asdict(sums).items():
                expected = pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
                assert getattr(ours.schemes[scheme], key) == expected, (name, scheme, key)


@pytest.mark.parametrize(
    ("conftest", "said"),
    [
        (KILLED, "rank 1 of 2 (process "),
        (UNREADABLE, "rank 1 of 2 could not measure its share: model.safetensors cannot be read"),
    ],
    ids=["killed", "cannot read"],
)
def test_a_rank_that_is_lost_fails_the_run_with_its_number_and_cause(
    conftest: str, said: str, model: Path, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "conftest.py").write_text(conftest)
    run = gate(tmp_path, model, corpus, "--maxact-save=run.safetensors")
    assert run.returncode == 1
    told = " ".join(run.stdout.split())
    assert f"FAIL: could not measure: {said}" in told
    assert told.count(f"FAIL: could not measure: {said}") == 1
    assert ("died without a word: killed" in told) == (conftest is KILLED)
    assert " passed" not in told
    assert not (tmp_path / "run.safetensors").exists()


def test_a_run_of_which_a_rank_was_killed_goes_on(model: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(BOOKMARKS)
    kept = tmp_path / "kept"
    given = ["--maxact-save=run.safetensors", "--maxact-cache=kept", "--maxact-schemes=W8A8_STATIC"]
    first = gate(tmp_path, model, corpus, *given)
    assert "rank 1 of 2 (process " in first.stdout, first.stdout + first.stderr
    assert list(kept.glob(".pass.*.bookmark"))
    second = gate(tmp_path, model, corpus, *given)
    told = " ".join(second.stdout.split())
    assert "the measurement went on after " in told, second.stdout + second.stderr
    assert "tokens in the share of rank 0 of 2" in told
    for rank in (0, 1):
        batches = (tmp_path / f"batches{rank}").read_text().split()
        assert len(batches) - len(set(batches)) <= 1, "the one that was cut short"
    assert not list(kept.glob(".pass.*"))
    one, two = record_of(model, corpus, batch_tokens=24, schemes=("W8A8_STATIC",)), load(tmp_path / "run.safetensors")
    assert two.tokens == one.tokens
    assert {name: reading.histogram for name, reading in two.sites.items()} == {
        name: reading.histogram for name, reading in one.sites.items()
    }


def test_a_request_that_is_wrong_is_told_once_with_its_exit_code(model: Path, corpus: Path, tmp_path: Path) -> None:
    run = torchrun(
        tmp_path, "pytest_maxact", "measure", model, "--corpus", corpus, "--effect", "W8A8", "--shard", "1/2", "-o", "r"
    )
    assert run.returncode == 1, "torchrun's own"
    assert run.stderr.count("maxact: ") == 1
    assert "exitcode  : 4" in run.stderr
