"""What the reports of a training run say where it does not come to its end, goes on later, or cannot write them."""

import gc
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_maxact.errors import InputError
from pytest_maxact.trainer import reports
from pytest_maxact.trainer.callback import MaxActCallback
from tests.support.training import FROM_SCRATCH, STEPS, Doing, limits_file, refused, train, trainer_of


def report(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return document


def held_limits(folder: Path) -> Path:
    return limits_file(
        folder, "version: 1\ngeneric: {min_margin: null}\nfamilies: {q: {model_types: [qwen3], limits: {hidden: 20}}}\n"
    )


def failing(model: Any) -> None:
    raise RuntimeError("the loader died")


def grow(model: Any) -> None:
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight *= 1000.0


def shrink(model: Any) -> None:
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight /= 1000.0


@pytest.fixture
def step_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return tmp_path / "summary.md"


def test_a_run_that_an_exception_ends_leaves_no_pass_of_this_or_of_an_earlier_run(
    tmp_path: Path, corpus: Path, step_summary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = held_limits(tmp_path)
    card = tmp_path / "README.md"
    asked: dict[str, Any] = {"every": 2, "limits": limits, "json_report": tmp_path / "run.json", "card": card}
    train(tmp_path, corpus, **asked)
    assert report(tmp_path)["verdict"] == "PASS"
    assert "value: PASS" in card.read_text()
    assert step_summary.read_text().count("## maxact: PASS") == 1
    trainer = trainer_of(tmp_path, callbacks=[Doing(3, failing)])
    with pytest.raises(RuntimeError, match="the loader died"):
        train(tmp_path, corpus, trainer=trainer, **asked)
    document = report(tmp_path)
    assert (document["finished"], document["verdict"], document["faults"]) == (
        False,
        "FAIL",
        ["the run did not finish"],
    )
    assert [one["name"] for one in document["checkpoints"]] == ["checkpoint-2"]
    assert document["warnings"][0] == f"measured until step 2 of {STEPS}"
    assert "PASS" not in card.read_text()
    assert "FAIL: the run did not finish" in card.read_text()
    del trainer
    gc.collect()
    assert "**FAIL: the run did not finish**" in step_summary.read_text()
    assert "::error " in capsys.readouterr().err


def test_a_run_that_ends_before_its_first_measurement_says_so_and_a_card_is_as_it_was_until_it_begins(
    tmp_path: Path, corpus: Path
) -> None:
    card = tmp_path / "README.md"
    card.write_text("# mine\n")
    with pytest.raises(InputError, match="every=9 is beyond the last step"):
        train(tmp_path, corpus, every=9, card=card, json_report=tmp_path / "run.json")
    assert card.read_text() == "# mine\n"
    assert report(tmp_path)["faults"] == ["the run did not finish"]
    with pytest.raises(RuntimeError):
        train(
            tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Doing(1, failing)]), limits=held_limits(tmp_path),
            every=2, card=card, json_report=tmp_path / "run.json",
        )  # fmt: skip
    assert (report(tmp_path)["verdict"], report(tmp_path)["checkpoints"]) == ("NONE", [])
    assert "no verdict: the run did not finish" in card.read_text()


def test_a_run_in_which_nothing_was_measured_is_no_pass(tmp_path: Path, corpus: Path) -> None:
    stopping = Doing(1, lambda model: None)
    stopping.on_step_begin = lambda args, state, control, **_: setattr(control, "should_training_stop", True)
    callback = train(
        tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[stopping], save_strategy="no"), every=4,
        json_report=tmp_path / "run.json",
    )  # fmt: skip
    assert callback.findings == {}
    assert callback.verdict == report(tmp_path)["verdict"] == "FAIL"
    assert report(tmp_path)["faults"] == ["nothing was measured in this run, so nothing is known of its activations"]


def test_places_are_looked_at_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_summary: Path
) -> None:
    refused(tmp_path, "`json_report` and `html` both write to", html="one.html", json_report="./one.html")
    refused(tmp_path, "there is no folder", sarif=tmp_path / "none" / "run.sarif")
    refused(tmp_path, r"`bom` and GITHUB_STEP_SUMMARY both write to", bom=step_summary)
    refused(tmp_path, "github is 'yes'", github="yes")
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    refused(tmp_path, "there is a file of another kind, which would be lost", html=mine)
    assert mine.read_text() == "<p>mine</p>"
    monkeypatch.setitem(sys.modules, "jinja2", None)
    refused(tmp_path, r"the page takes jinja2, which is not installed", html=tmp_path / "run.html")
    assert not (tmp_path / "run.html").exists()
    assert step_summary.read_text().count("## maxact: no verdict") == 5


def test_reports_lie_in_the_folder_of_the_run_though_it_holds_a_model_and_in_no_other(
    tmp_path: Path, corpus: Path, checkpoint: Path
) -> None:
    shutil.copy(checkpoint / "config.json", tmp_path)
    callback = train(tmp_path, corpus, every=6, limits=held_limits(tmp_path), json_report=tmp_path / "run.json")
    assert callback.verdict == report(tmp_path)["verdict"] == "PASS"
    refused(tmp_path / "other", "is a checkpoint, as its config says", json_report=checkpoint / "run.json")


def test_a_report_that_can_be_written_no_more_ends_no_training_and_is_no_pass(
    tmp_path: Path, corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = tmp_path / "reports"
    gone.mkdir()
    callback = train(
        tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Doing(3, lambda model: shutil.rmtree(gone))]),
        every=2, limits=held_limits(tmp_path), json_report=tmp_path / "run.json", sarif=gone / "run.sarif",
    )  # fmt: skip
    assert callback.trainer.state.global_step == STEPS
    assert callback.verdict == report(tmp_path)["verdict"] == "FAIL"
    assert "the SARIF file was not written to" in report(tmp_path)["faults"][0]
    assert f"at step {STEPS} the SARIF file was not written to" in caplog.text


def test_a_runner_is_told_that_there_is_no_verdict_where_what_was_found_cannot_be_put_together(
    tmp_path: Path, corpus: Path, step_summary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(reports, "tell", broken)
    callback = train(tmp_path, corpus, every=6, limits=held_limits(tmp_path))
    assert callback.verdict == "PASS"
    assert "the training run came to no verdict: a fault of ours" in step_summary.read_text()


def resumed(
    folder: Path, corpus: Path, *before: Any, between: Any = None, last: int = 4, **options: Any
) -> MaxActCallback:
    """A run that ended at step 4 and goes on to the sixth, saved and measured at every second."""
    asked: dict[str, Any] = {"limits": held_limits(folder), "json_report": folder / "run.json", **options}
    train(folder, corpus, trainer=trainer_of(folder, callbacks=list(before), max_steps=4, save_steps=2), **asked)
    if between:
        between()
    return train(
        folder, corpus, trainer=trainer_of(folder, save_steps=2), resume=folder / f"checkpoint-{last}", **asked
    )


def test_a_run_that_goes_on_reports_what_was_found_before_it_was_resumed(tmp_path: Path, corpus: Path) -> None:
    callback = resumed(tmp_path, corpus, Doing(2, grow), Doing(3, shrink))
    assert callback.findings == {4: (), 6: ()}
    document = report(tmp_path)
    assert [one["name"] for one in document["checkpoints"]] == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert (document["verdict"], document["counts"]["failed"]) == ("FAIL", 2)


@pytest.mark.parametrize(
    ("grown", "step", "verdict", "told"),
    [
        ((), 2, "PASS", "checkpoint-2: its Record .* is gone; no check failed there before this run was resumed"),
        (
            (Doing(2, grow), Doing(3, shrink)),
            2,
            "FAIL",
            "checkpoint-2: its Record .* is gone, and 2 checks of it failed",
        ),
    ],
)
def test_what_is_gone_of_a_run_that_goes_on_is_told_and_no_pass_where_it_failed_or_is_not_known(
    grown: tuple[Any, ...], step: int, verdict: str, told: str, tmp_path: Path, corpus: Path
) -> None:
    gone = tmp_path / f"checkpoint-{step}.maxact.safetensors"
    callback = resumed(tmp_path, corpus, *grown, between=gone.unlink)
    document = report(tmp_path)
    assert callback.verdict == document["verdict"] == verdict
    assert any(re.search(told, said) for said in (*document["faults"], *document["warnings"]))


def test_what_was_not_logged_when_a_run_ended_is_measured_as_it_goes_on_and_not_taken_from_what_lies_there(
    tmp_path: Path, corpus: Path
) -> None:
    asked: dict[str, Any] = {"limits": held_limits(tmp_path), "json_report": tmp_path / "run.json"}
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, max_steps=4, save_steps=2), **asked)
    trainer_of(tmp_path, callbacks=[Doing(1, grow)], max_steps=4, save_steps=2).train()  # another, not measured
    mended = trainer_of(tmp_path, callbacks=[Doing(5, shrink)], save_steps=2)
    callback = train(tmp_path, corpus, trainer=mended, resume=tmp_path / "checkpoint-4", **asked)
    assert [len(found) for found in callback.findings.values()] == [2, 0]
    assert callback.verdict == "FAIL"
    again = train(tmp_path, corpus, trainer=trainer_of(tmp_path, max_steps=8, save_steps=2),
                  resume=tmp_path / "checkpoint-6", **asked)  # fmt: skip
    assert again.verdict == report(tmp_path)["verdict"] == "FAIL"
    assert [one["name"] for one in report(tmp_path)["checkpoints"]] == ["checkpoint-4", "checkpoint-6", "checkpoint-8"]


def test_a_record_of_another_run_is_not_taken_for_what_the_log_tells_of(tmp_path: Path, corpus: Path) -> None:
    def overwrite() -> None:
        other = tmp_path / "other"
        train(other, corpus, trainer=trainer_of(other, max_steps=2, save_steps=2, learning_rate=0.0))
        shutil.copy(other / "checkpoint-2.maxact.safetensors", tmp_path)

    callback = resumed(tmp_path, corpus, Doing(2, grow), Doing(3, shrink), between=overwrite)
    assert callback.verdict == "FAIL"
    assert "is of other weights than this run's log tells of step 2" in report(tmp_path)["faults"][0]
    assert report(tmp_path)["counts"]["failed"] == 0


def test_a_run_that_was_not_measured_before_it_was_resumed_says_so(tmp_path: Path, corpus: Path) -> None:
    trainer_of(tmp_path, max_steps=3).train()
    train(
        tmp_path, corpus, resume=tmp_path / "checkpoint-3", json_report=tmp_path / "run.json",
        limits=limits_file(tmp_path, FROM_SCRATCH),
    )  # fmt: skip
    assert report(tmp_path)["verdict"] == "PASS"
    assert report(tmp_path)["warnings"][0] == "the run goes on from step 3, before which nothing was measured"
