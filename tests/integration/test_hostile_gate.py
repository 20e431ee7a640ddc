"""A gate of a model and a corpus whose names attack: at every verbosity what it prints is text, and every file of one
run is read by a parser of its own, which finds the names as data and none as structure.
"""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.support.gate_runs import run_gate
from tests.support.hostile import NAMES, obeyed
from tests.support.runner import read_command

FOLDER = "::error::owned <script>alert(1)<\\x> ##[error]owned \x1b]0;o\x07\r\n::error::b\u202e |`[x](y) =1+1"
SAMPLE = "".join(
    NAMES[name].replace("\n", " ")
    for name in ("command", "markup", "markdown", "quotes", "right_to_left", "emoji", "formula")
)
OUTPUTS = (
    "--maxact-json-report=r.json", "--maxact-html=p.html", "--maxact-sarif=s.sarif", "--maxact-codequality=q.json",
    "--maxact-card=README.md", "--maxact-bom=b.json", "--junitxml=j.xml", "--maxact-save=m.safetensors",
)  # fmt: skip


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag if attrs else f"{tag} alone")
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def looked_at(result: pytest.RunResult) -> str:
    printed = f"{result.stdout.str()}\n{result.stderr.str()}"
    ours = "\n".join(
        line for line in printed.split("\n") if not line.startswith(("::error title=maxact", "::warning title=maxact"))
    )
    assert list(obeyed(ours)) == []
    return printed


def test_every_output_of_a_gate_has_names_as_text(
    pytester: pytest.Pytester, checkpoint: Path, tight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pytester.path
    model = path / FOLDER.replace("/", "_")
    shutil.copytree(checkpoint, model)
    rows = [{"id": f"{SAMPLE}{i}", "category": SAMPLE, "text": f"w{i} w2 peak w3"} for i in range(4)]
    (path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, value in (("GITHUB_ACTIONS", "true"), ("CI", "true"), ("GITHUB_STEP_SUMMARY", str(path / "summary.md"))):
        monkeypatch.setenv(name, value)
    run = [f"--maxact-limits={tight}", "-p", "no:cacheprovider"]
    printed = looked_at(
        run_gate(pytester, f"--maxact-model={model}", "--maxact-corpus=c.jsonl", *run, *OUTPUTS, exit=1)
    )
    assert {one.name for one in map(read_command, printed.split("\n")) if one} <= {"error", "warning", "notice"}
    for more in ("-q", "-v"):
        assert "owned" in looked_at(run_gate(pytester, "--maxact-replay=m.safetensors", *run, more, exit=1))

    report = json.loads((path / "r.json").read_text())
    assert json.dumps(SAMPLE)[1:-1] in json.dumps(report)
    for name in ("s.sarif", "q.json", "b.json"):
        assert "owned" in (path / name).read_text()
        json.loads((path / name).read_text())
    cases = list(ET.parse(path / "j.xml").getroot().iter("testcase"))
    assert len(cases) == report["counts"]["checks"]
    page = Tags((path / "p.html").read_text())
    assert page.handlers == []
    assert page.tags.count("script alone") == 2
    assert "onerror=alert(1)" in page.text
    front, _, text = (path / "README.md").read_text().removeprefix("---\n").partition("\n---\n")
    assert "owned" in yaml.safe_load(front)["model-index"][0]["name"]
    for markdown in (text, (path / "summary.md").read_text()):
        rendered = Tags(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))
        assert not {"script alone", "img", "details alone"} & {*rendered.tags}
        assert "owned" in rendered.text
        assert not re.search(r"javascript:", "".join(re.findall(r'href="[^"]*"', markdown)))
