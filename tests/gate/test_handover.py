"""What the workers of a run read is what the process that started it found."""

import json
from datetime import date
from math import inf
from pathlib import Path

import pytest
from pydantic import ValidationError

from pytest_maxact.gate.handover import Handover, read_handover, write_handover
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.schema.family import MeasuredOn
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.record.metrics.metric import GROWTH
from pytest_maxact.settings.settings import Settings


def test_other_processes_read_what_this_one_found(tmp_path: Path) -> None:
    limits = tuple(
        Limit(
            site="layers.0.hidden",
            metric=GROWTH,
            bound=2.0,
            sense="max",
            rule="r",
            source="s",
            file="f.yaml",
            line=3,
            against=against,
            floor=floor,
            figure=figure,
            headroom=figure,
            envelope=bool(floor),
        )
        for against, floor, figure in (("v1", 0.5, None), ("", None, 1.25), ("", None, inf))
    )
    waiver = Waiver(
        site="*", metric="*", checkpoint="*", reason="é", owner="ann", until=date(2026, 3, 31), file="f.yaml", line=9
    )
    rules = Ruleset(
        family="qwen3",
        shape=None,
        protocol="paper",
        limits=limits,
        fitness=limits[:1],
        waivers=(waiver,),
        measured=MeasuredOn(corpus="c", sha256="0" * 12, tokens=7, dtype="bfloat16"),
    )
    subjects = (
        Subject(
            source=Source(name="step-1", path="a", is_record=False, step=1), title="t", rules=rules, against=("v1",)
        ),
    )
    baselines = (Source(name="v1", path="b", is_record=True, revision="abc"),)
    settings = Settings(model="run/step-*", schemes=("W8A8",), baseline=("b",), max_tokens=7, slim=True)
    handover = Handover(settings=settings, plan=Plan(subjects=subjects, baselines=baselines))
    write_handover(tmp_path / "handover.json", handover)
    assert read_handover(tmp_path / "handover.json") == handover


@pytest.mark.parametrize("lacking", ["settings", "plan"])
def test_a_handover_that_lacks_something_is_refused(lacking: str, tmp_path: Path) -> None:
    path = tmp_path / "handover.json"
    rules = Ruleset(family="qwen3", shape=None, protocol=None, limits=())
    subject = Subject(source=Source(name="", path="a", is_record=True), title="t", rules=rules)
    write_handover(path, Handover(settings=Settings(replay="a"), plan=Plan(subjects=(subject,))))
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != lacking})
    )
    with pytest.raises(ValidationError, match=lacking):
        read_handover(path)
