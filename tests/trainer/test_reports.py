"""What a training run writes about itself: the files of a gate, of all its steps."""

import json
import logging
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from pytest_maxact.report.data.run.text import run_json
from pytest_maxact.trainer import reports
from pytest_maxact.trainer.callback import MaxActCallback
from pytest_maxact.trainer.reports import RunReports
from tests.support.pages import accounted, kept
from tests.support.training import STEPS, Doing, limits_file, record_at, train, trainer_of, words
from tests.support.waivers import SOON

PLACES = {
    "json_report": "run.json", "html": "run.html", "sarif": "run.sarif", "codequality": "quality.json",
    "card": "README.md", "bom": "bom.json", "junit": "junit.xml",
}  # fmt: skip


def scaled(factor: float) -> Any:
    def scale(model: Any) -> None:
        with torch.no_grad():
            model.model.layers[1].mlp.down_proj.weight *= factor

    return scale


def plain_limits(folder: Path, more: str = "") -> Path:
    """Which the tiny model holds unless it is scaled; nothing about what changes."""
    return limits_file(
        folder,
        "version: 1\ngeneric: {min_margin: null}\nfamilies: {q: {model_types: [qwen3], limits: {hidden: 20}}}\n" + more,
    )


def reported(folder: Path, corpus: Path, *callbacks: Any, limits: Path | None = None, **options: Any) -> MaxActCallback:
    """A run of four steps, measured at the second and the fourth."""
    trainer = trainer_of(folder, callbacks=list(callbacks), max_steps=4, save_strategy="no")
    asked: dict[str, Any] = {"every": 2, "limits": limits or plain_limits(folder), "json_report": folder / "run.json"}
    return train(folder, corpus, trainer=trainer, **{**asked, **options})


def report(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return document


def outcomes(document: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {
        told["check"]: (told["outcome"], told["value"], told["limit"], told["interval"], told["message"])
        for one in document["checkpoints"]
        for told in one["checks"]
    }


def test_a_breach_of_an_earlier_step_is_the_verdict_of_every_report_though_the_last_step_holds(
    tmp_path: Path, corpus: Path
) -> None:
    places = {name: tmp_path / file for name, file in PLACES.items()}
    callback = reported(tmp_path, corpus, Doing(2, scaled(1000.0)), Doing(3, scaled(0.001)), **places)
    assert [len(callback.findings[step]) for step in (2, 4)] == [2, 0]
    assert callback.verdict == "FAIL"
    document = report(tmp_path)
    assert (document["verdict"], document["finished"], document["counts"]["failed"]) == ("FAIL", True, 2)
    assert [one["name"] for one in document["checkpoints"]] == ["checkpoint-2", "checkpoint-4"]
    assert [one["step"] for one in document["checkpoints"]] == [2, 4]
    failing = [name for name, (outcome, *_) in outcomes(document).items() if outcome != "held"]
    assert failing == [f"maxact::checkpoint-2::layers.{layer}.hidden::max_abs" for layer in (1, 2)]
    page = places["html"].read_text()
    assert "2 of 48 checks of 2 checkpoints do not hold" in page
    assert "checkpoint-2: layers.2.hidden" in page
    assert "Checkpoint by checkpoint" in page
    (run,) = json.loads(places["sarif"].read_text())["runs"]
    assert run["properties"]["verdict"] == "FAIL"
    assert run["properties"]["M"]["checkpoint-4"] == record_at(tmp_path, 4).carrier.max_abs
    assert {one["severity"] for one in json.loads(places["codequality"].read_text())} == {"critical"}
    assert "value: FAIL" in places["card"].read_text()
    assert "`checkpoint-2 layers.2.hidden::max_abs`" in places["card"].read_text()
    assert '"FAIL"' in places["bom"].read_text()
    cases = ET.parse(places["junit"]).getroot().iter("testcase")
    assert [f"maxact::{case.get('name')}" for case in cases if case.find("failure") is not None] == failing


def test_its_report_says_of_every_check_what_the_gate_says_of_its_records(tmp_path: Path, corpus: Path) -> None:
    waiver = f"waive: [{{site: layers.2.hidden, reason: known, owner: me, until: {SOON}}}]\n"
    limits = plain_limits(tmp_path, f"{waiver}regression: {{max_growth: 1.0e+9}}\n")
    reported(tmp_path, corpus, Doing(2, scaled(1000.0)), Doing(3, scaled(0.001)), limits=limits)
    gated = json.loads(run_json(accounted(tmp_path / "checkpoint-*.maxact.safetensors", limits=str(limits))))
    document = report(tmp_path)
    own, theirs = (
        {name: told for name, told in outcomes(one).items() if "growth[" not in name} for one in (document, gated)
    )
    assert {outcome for outcome, *_ in own.values()} == {"held", "does not hold", "waived"}
    assert own == theirs
    for key in ("verdict", "rests", "waivers", "warnings", "series", "limits"):
        assert document[key] == gated[key], key


def test_a_run_of_which_all_holds_passes_and_trains_as_one_without_reports(
    tmp_path: Path, corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pytest_maxact.trainer")
    bare = reported(tmp_path / "bare", corpus, limits=plain_limits(tmp_path), json_report=None)
    assert bare.verdict is None
    callback = reported(tmp_path, corpus, html=tmp_path / "run.html")
    assert callback.verdict == report(tmp_path)["verdict"] == "PASS"
    assert report(tmp_path)["settings"]["measured"] == "every 2 steps"
    assert "this training run: PASS" in caplog.text
    trained, alone = (one.trainer.model.state_dict() for one in (callback, bare))
    assert all(torch.equal(trained[name], alone[name]) for name in alone)


def test_a_step_that_could_not_be_measured_is_a_fault_of_the_whole_run(tmp_path: Path, corpus: Path) -> None:
    def fail(module: Any, args: Any) -> None:
        if not module.training:
            raise RuntimeError("no evaluation here")

    handles: list[Any] = []
    sabotage = Doing(2, lambda model: handles.append(model.model.layers[1].mlp.register_forward_pre_hook(fail)))
    callback = reported(tmp_path, corpus, sabotage, Doing(3, lambda model: handles[0].remove()))
    assert list(callback.errors) == [2]
    assert callback.findings == {4: ()}
    assert callback.verdict == "FAIL"
    document = report(tmp_path)
    assert document["verdict"] == "FAIL"
    assert document["faults"][0].startswith("could not measure checkpoint-2: the forward pass failed on samples")
    assert {outcome for name, (outcome, *_) in outcomes(document).items() if "checkpoint-2" in name} == {
        "could not be judged"
    }
    assert document["counts"]["failed"] == 0


def test_measurements_that_were_given_up_are_no_pass(tmp_path: Path, corpus: Path) -> None:
    callback = reported(tmp_path, corpus, budget_seconds=1e-5)
    assert callback.errors == {}
    assert callback.verdict == report(tmp_path)["verdict"] == "FAIL"
    assert "its budget of 1e-05 s is spent" in report(tmp_path)["checkpoints"][1]["failure"]


def test_what_came_after_the_last_measurement_is_not_told_as_known(tmp_path: Path, corpus: Path) -> None:
    reported(tmp_path, corpus, every=3)
    assert report(tmp_path)["verdict"] == "PASS"
    assert report(tmp_path)["warnings"][0] == (
        "training ended at step 4, and nothing is known of the model after step 3"
    )


class Evaluated(Trainer):  # type: ignore[misc]
    """A Trainer whose loss is lowest at its first step."""

    def evaluate(self, *given: Any, **named: Any) -> dict[str, float]:
        metrics = {"eval_loss": float(self.state.global_step)}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


@pytest.mark.parametrize(("every", "told"), [(1, ", and the last that was measured is step 4"), (2, ", not measured")])
def test_a_run_that_ends_with_the_weights_of_an_earlier_step_says_so(
    every: int, told: str, tmp_path: Path, corpus: Path
) -> None:
    trainer = trainer_of(
        tmp_path, kind=Evaluated, max_steps=4, save_steps=1, eval_strategy="steps", eval_steps=1, eval_dataset=words(4),
        load_best_model_at_end=True,
    )  # fmt: skip
    train(tmp_path, corpus, trainer=trainer, every=every, limits=plain_limits(tmp_path),
          json_report=tmp_path / "run.json")  # fmt: skip
    assert report(tmp_path)["warnings"][0] == f"training ended with the weights of its best step, 1{told}"


def test_a_run_is_compared_with_its_first_measurement_in_its_reports(tmp_path: Path, corpus: Path) -> None:
    limits = limits_file(tmp_path, "version: 1\nextends: builtin\ngeneric: {min_margin: null}\n")
    callback = reported(tmp_path, corpus, Doing(3, scaled(1000.0)), limits=limits, family="generic")
    document = report(tmp_path)
    assert document["baselines"] == ["the first measurement of this run"]
    grown = "maxact::checkpoint-4::layers.1.hidden::growth[the first measurement of this run]"
    assert outcomes(document)[grown][0] == "does not hold"
    failing = [finding.limit.check for finding in callback.findings[4]]
    assert failing == [
        name.removeprefix("maxact::checkpoint-4::")
        for name, (outcome, *_) in outcomes(document).items()
        if outcome == "does not hold"
    ]


def test_a_baseline_is_what_reports_name(tmp_path: Path, corpus: Path) -> None:
    reported(tmp_path / "before", corpus, limits=plain_limits(tmp_path))
    baseline = kept(record_at(tmp_path / "before", 2), tmp_path / "base.safetensors")
    limits = limits_file(tmp_path, "version: 1\nextends: builtin\ngeneric: {min_margin: null}\n")
    reported(tmp_path, corpus, limits=limits, family="generic", baseline=baseline)
    assert report(tmp_path)["baselines"] == [f"baseline {baseline}"]
    assert report(tmp_path)["settings"]["baseline"] == str(baseline)


@pytest.mark.parametrize(("grown", "written"), [(None, [1, 6]), (4, [1, 4, 6])])
def test_a_long_run_spends_a_tenth_of_its_time_on_reports_and_tells_the_first_failure_at_once(
    grown: int | None, written: list[int], tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, steps, put = [100.0], [], RunReports._put

    def slow(self: RunReports, step: int, *told: Any) -> Any:
        clock[0] += 10.0
        steps.append(step)
        return put(self, step, *told)

    monkeypatch.setattr(reports, "monotonic", lambda: clock[0])
    monkeypatch.setattr(RunReports, "_put", slow)
    callbacks = [Doing(grown, scaled(1000.0))] if grown else []
    trainer = trainer_of(tmp_path, callbacks=callbacks, save_strategy="no")
    train(tmp_path, corpus, trainer=trainer, every=1, limits=plain_limits(tmp_path), json_report=tmp_path / "run.json")
    assert steps == written
    assert len(report(tmp_path)["checkpoints"]) == STEPS


@pytest.mark.parametrize(
    ("hub", "loaded", "name"), [("me/new", "org/base", "new"), (None, "org/base", "base"), (None, "", "")]
)
def test_a_new_card_is_of_the_model_and_not_of_a_step(
    hub: str | None, loaded: str, name: str, tmp_path: Path, corpus: Path
) -> None:
    card = tmp_path / "README.md"
    trainer = trainer_of(tmp_path, max_steps=3, save_steps=3, hub_model_id=hub)
    trainer.model.config._name_or_path = loaded
    train(tmp_path, corpus, trainer=trainer, limits=plain_limits(tmp_path), card=card, bom=tmp_path / "bom.json")
    assert f"model-index:\n- name: {name or tmp_path.name}\n" in card.read_text()
    assert json.loads((tmp_path / "bom.json").read_text())["components"][0]["name"] == (name or tmp_path.name)
    assert record_at(tmp_path, 3).provenance.model == "checkpoint-3"
