"""The GitHub Action and the GitLab template, run by a shell that stands for their runners: outputs, exit codes, and
inputs that are data whatever they hold.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import REPOSITORY
from tests.support.runner import Job, bash, calls_in, own_python, run_action

ACTION: dict[str, Any] = yaml.safe_load((REPOSITORY / "action.yml").read_text())
HOSTILE = "a b\"c'd`touch owned`$(touch owned);touch owned #\\ * ${HOME} && touch owned"
LINES = "verdict=PASS\nrecord=x\n::error::x"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_children: Path) -> Path:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    folder = tmp_path / "work space"
    folder.mkdir()
    (folder / "conftest.py").write_text("raise SystemExit(0)\n")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    for own in (folder / "maxact", folder / ".maxact" / "none"):
        own.mkdir(parents=True)
        (own / "test_own.py").write_text("open('owned', 'w')\n")
    return folder


def acted(workspace: Path, tmp_path: Path, *, runs: bool = True, **inputs: str) -> Job:
    temp, path = tmp_path / "runner temp", tmp_path / "path"
    temp.mkdir(exist_ok=True)
    if not path.exists():
        own_python(path, runs=runs)
    job = run_action(ACTION, {name.replace("_", "-"): said for name, said in inputs.items()}, workspace, temp, path)
    assert not list(tmp_path.rglob("owned"))
    return job


def test_a_record_that_holds_passes_and_sets_every_output(workspace: Path, tmp_path: Path, saved: Path) -> None:
    job = acted(workspace, tmp_path, record=str(saved))
    assert not job.failed, job.printed
    report = json.loads(Path(job.outputs["folder"], "report.json").read_text())
    assert job.outputs["verdict"] == report["verdict"] == "PASS"
    assert float(job.outputs["m"]) == report["checkpoints"][0]["m"]["value"]
    assert job.outputs["record"] == str(saved)
    written = {path.name for path in Path(job.outputs["folder"]).iterdir()}
    assert written == {"junit.xml", "maxact.sarif", "report.html", "report.json", "verdict.json"}
    setup, upload = job.used
    assert setup == ("actions/setup-python@v5", {"python-version": "3.12", "update-environment": "False"})
    assert (upload[0], upload[1]["name"]) == ("actions/upload-artifact@v4", "maxact")
    assert upload[1]["path"] == job.outputs["folder"]
    _, first, second = calls_in(tmp_path / "path" / "pip.log")
    assert "torch" not in first + second
    assert second[-3:] == ["--no-deps", "--", "/the/action"]
    later = acted(workspace, tmp_path, record="none.safetensors")
    assert later.failed
    assert (later.outputs["verdict"] != "PASS", later.outputs["m"]) == (True, "")


def test_a_breach_fails_and_what_was_found_is_kept(workspace: Path, tmp_path: Path, saved: Path, tight: Path) -> None:
    tight.rename(workspace / "my limits.yaml")
    job = acted(workspace, tmp_path, record=str(saved), limits="my limits.yaml", artifact="", code_scanning="true")
    assert job.failed
    assert job.outputs["verdict"] == "FAIL"
    assert [name for name, _ in job.used] == ["actions/setup-python@v5", "github/codeql-action/upload-sarif@v3"]
    assert json.loads(Path(job.used[1][1]["sarif_file"]).read_text())["runs"][0]["results"]


def test_a_model_is_measured_and_its_record_handed_on(workspace: Path, tmp_path: Path) -> None:
    job = acted(
        workspace, tmp_path, runs=False, model="org/name", revision="0123", corpus="a b.jsonl", deploy="W8A8",
        baseline="one\ntwo three\n", arguments="--maxact-strict\n\n--maxact-family=a b\n",
    )  # fmt: skip
    assert job.failed
    assert Path(job.outputs["record"]).parent == Path(job.outputs["folder"])
    (asked,) = calls_in(tmp_path / "path" / "pytest.log")
    given = [
        *("--maxact-model=org/name", "--maxact-revision=0123", "--maxact-corpus=a b.jsonl", "--maxact-deploy=W8A8"),
        *("--maxact-baseline=one", "--maxact-baseline=two three", "--maxact-strict", "--maxact-family=a b"),
        f"--maxact-save={job.outputs['record']}",
    ]
    assert [word for word in asked if word in given] == given
    assert asked[-1] == str(tmp_path / "runner temp" / "maxact" / "none")
    drawing, torch, package = calls_in(tmp_path / "path" / "pip.log")
    assert "altair" in drawing
    assert torch[-3:] == ["--index-url", "https://download.pytorch.org/whl/cpu", "torch"]
    assert package[-2:] == ["--", "/the/action"]


@pytest.mark.parametrize("value", [HOSTILE, LINES], ids=["a shell's", "of several lines"])
@pytest.mark.parametrize("left_out", ["model", "record"])
def test_inputs_are_data(value: str, left_out: str, workspace: Path, tmp_path: Path) -> None:
    inputs = {name.replace("-", "_"): value for name in ACTION["inputs"] if name != left_out}
    job = acted(workspace, tmp_path, runs=False, **inputs)
    (asked,) = calls_in(tmp_path / "path" / "pytest.log")
    for name in {"revision", "limits", "corpus", "deploy"}:
        assert f"--maxact-{name}={value}" in asked
    assert all(f"--maxact-baseline={line}" in asked for line in value.split("\n"))
    assert all(line in asked for line in value.split("\n"))
    assert (f"--maxact-model={value}" in asked, f"--maxact-replay={value}" in asked) == (
        left_out != "model",
        left_out != "record",
    )
    assert calls_in(tmp_path / "path" / "pip.log")[-1][-1] == value
    assert job.outputs["verdict"] == "NONE"
    assert job.outputs["record"] == (value if left_out == "model" else f"{job.outputs['folder']}/record.safetensors")


def test_no_input_is_written_into_a_script_and_actions_are_pinned() -> None:
    steps = ACTION["runs"]["steps"]
    assert [step for step in steps if "${{" in step.get("run", "")] == []
    assert all(re.fullmatch(r"[\w-]+/[\w/-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert {step["shell"] for step in steps if "run" in step} == {"bash"}
    read = set(re.findall(r"inputs\.([\w-]+)", json.dumps(ACTION["runs"])))
    assert read == set(ACTION["inputs"])


def test_both_install_for_judging_what_the_page_says() -> None:
    (said,) = re.findall(r"^pip install (filelock .*)$", (REPOSITORY / "docs" / "ci.md").read_text(), re.MULTILINE)
    for file in ("action.yml", "templates/maxact.yml"):
        assert re.findall(r"install (filelock .*)$", (REPOSITORY / file).read_text(), re.MULTILINE) == [said]


def gitlab(workspace: Path, tmp_path: Path, *, runs: bool = True, **inputs: str) -> int:
    """Run the job of the template as a runner of GitLab does, inputs put in where they stand."""
    spec, jobs = yaml.safe_load_all((REPOSITORY / "templates" / "maxact.yml").read_text())
    known = {name: inputs.get(name.replace("-", "_"), one["default"]) for name, one in spec["spec"]["inputs"].items()}
    job = jobs["maxact"]
    assert "$[[" not in "".join([*job["before_script"], *job["script"]])
    environment = {}
    for name, variable in job["variables"].items():
        assert variable["expand"] is False
        environment[name] = re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda found: known[found[1]], variable["value"])
    path = tmp_path / "path"
    if not path.exists():
        own_python(path, runs=runs)
    environment["PATH"] = f"{path}:/usr/bin:/bin"
    run = bash("\n".join([*job["before_script"], *job["script"]]), workspace, environment)
    assert not list(tmp_path.rglob("owned"))
    return run.returncode


def test_the_template_of_gitlab_judges_keeps_and_fails(
    workspace: Path, tmp_path: Path, saved: Path, tight: Path
) -> None:
    tight.rename(workspace / "my limits.yaml")
    assert gitlab(workspace, tmp_path, record=str(saved), limits="my limits.yaml", arguments="-q\n") == 1
    out = workspace / "maxact"
    written = {path.name for path in out.iterdir()}
    assert written == {"codequality.json", "junit.xml", "report.html", "report.json", "test_own.py", "verdict.json"}
    assert json.loads((out / "report.json").read_text())["verdict"] == "FAIL"
    assert json.loads((out / "codequality.json").read_text())


@pytest.mark.parametrize("value", [HOSTILE, LINES], ids=["a shell's", "of several lines"])
def test_inputs_of_the_template_are_data(value: str, workspace: Path, tmp_path: Path) -> None:
    names = ("model", "revision", "record", "limits", "baseline", "corpus", "deploy", "arguments", "package")
    gitlab(workspace, tmp_path, runs=False, **dict.fromkeys(names, value))
    (asked,) = calls_in(tmp_path / "path" / "pytest.log")
    for name in ("model", "revision", "replay", "limits", "corpus", "deploy"):
        assert f"--maxact-{name}={value}" in asked
    assert all(f"--maxact-baseline={line}" in asked and line in asked for line in value.split("\n"))
    assert calls_in(tmp_path / "path" / "pip.log")[-1][-1] == value
