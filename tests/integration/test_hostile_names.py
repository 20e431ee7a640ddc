"""Names that others chose, in what leaves a run: each is text in the summary of a step, in annotations, in a card and
in a bill of materials.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from pytest_maxact.errors import neutral, shown
from pytest_maxact.gate.account import account_of, note_all
from pytest_maxact.gate.conclude import all_reported, conclude
from pytest_maxact.gate.session import open_session
from pytest_maxact.judge.account import Account
from pytest_maxact.numbers.peaks import Around
from pytest_maxact.report.card.bom import bom
from pytest_maxact.report.card.content import card
from pytest_maxact.report.github.annotations import annotations
from pytest_maxact.report.github.commands import command
from pytest_maxact.report.markdown.summary import summary
from pytest_maxact.settings.settings import Settings
from tests.support.hostile import NAMES, is_text
from tests.support.runner import read_command

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
OURS = re.compile(
    r"</?(?:h2|p|br|b|code|span|strong|table|thead|tbody|tr|t[hd]|ul|li|a)(?: style=\"text-align:right\")?(?: /)?>"
)


@pytest.fixture
def account(saved: Path, tight: Path) -> Account:
    session = open_session(Settings(replay=str(saved), limits=str(tight)))
    session.judging.every(session.plan.latest)
    outcome = conclude(session, all_reported(session))
    note_all(session)
    return account_of(session, outcome, (), neutral, tight.parent)


def named(account: Account, name: str) -> Account:
    """The same, with this name of a model, a corpus, a sample, a token and the text around it, in what it
    says and in a fault.
    """
    assert account.outcome is not None
    assert account.outcome.verdict is not None
    (judged,) = account.checkpoints
    (breach,) = account.outcome.verdict.breaches
    assert judged.concluded is not None
    assert judged.concluded.portrait is not None
    assert breach.finding.reading is not None
    around = Around(before=name, after=name)
    peaks = tuple(replace(peak, sample=name, token=name, around=around) for peak in breach.finding.reading.peaks)
    finding = replace(
        breach.finding,
        reading=replace(breach.finding.reading, peaks=peaks),
        message=f"{breach.finding.message} {name}",
    )
    portrait = judged.concluded.portrait
    portrait = replace(
        portrait,
        m=replace(portrait.m, peak=peaks[0]),
        provenance=replace(portrait.provenance, model=name, corpus=name, revision=name),
    )
    verdict = replace(account.outcome.verdict, breaches=(replace(breach, finding=finding),), warnings=(name,))
    checks = tuple(replace(told, finding=finding) if told.became == "does not hold" else told for told in judged.checks)
    concluded = replace(judged.concluded, portrait=portrait)
    return replace(
        account,
        faults=(name,),
        checkpoints=(replace(judged, title=name, checks=checks, concluded=concluded),),
        outcome=replace(account.outcome, faults=(name,), verdict=replace(verdict, faults=(name,))),
    )


@pytest.mark.parametrize("name", NAMES)
def test_it_is_text_everywhere(name: str, account: Account, tmp_path: Path) -> None:
    hostile, place = NAMES[name], tmp_path / "README.md"
    told = named(account, hostile)
    page = summary(told, 64 * 1024)
    assert len(page.encode()) <= 64 * 1024
    assert "<" not in OURS.sub("", MARKDOWN.render(page))
    lines = [command(one) for one in annotations(told, tmp_path)]
    assert [read_command(line).name for line in lines] == ["error", "error", "warning"]  # type: ignore[union-attr]
    assert not [line for line in "\n".join(lines).split("\n") if not line.startswith(("::error ", "::warning "))]
    place.write_bytes(card(told, place))
    read = ModelCard(place.read_text())
    assert read.text.count("<!-- maxact:end -->") == 1
    assert "<" not in OURS.sub(
        "", re.sub(r"<!-- maxact:\w+ -->|<a href=\"https://github[^\"]*\">", "", MARKDOWN.render(read.text))
    )
    (model,) = yaml.safe_load(place.read_text().split("---\n")[1])["model-index"]
    assert model["name"] == shown(Path(hostile).name)[:200]
    assert card(told, place) == place.read_bytes()
    component = json.loads(bom(told, place))["components"][0]
    assert component["name"] == model["name"]
    assert all(is_text(value) for value in (component["name"], component["version"]))
