"""What was found before measuring, for other processes."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Measured, Ruleset
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.record.metrics.metric import Metric


def write_subjects(path: Path, subjects: Iterable[Subject], baselines: Iterable[Source]) -> None:
    """What was found before measuring, for other processes."""
    found = {
        "subjects": [asdict(subject) for subject in subjects],
        "baselines": [asdict(source) for source in baselines],
    }
    path.write_text(json.dumps(found, default=str), encoding="utf-8")


def read_subjects(path: Path) -> tuple[tuple[Subject, ...], tuple[Source, ...]]:
    """The reverse of `write_subjects`."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    subjects = []
    for entry in data["subjects"]:
        rules = entry["rules"]
        for name in ("limits", "fitness"):
            rules[name] = tuple(
                Limit(**{**limit, "metric": Metric.parse(limit["metric"]["name"])}) for limit in rules[name]
            )
        rules["measured"] = Measured(**rules["measured"]) if rules["measured"] else None
        rules["waivers"] = tuple(
            Waiver(**{**waiver, "until": date.fromisoformat(waiver["until"])}) for waiver in rules["waivers"]
        )
        subjects.append(
            Subject(
                source=Source(**entry["source"]),
                title=entry["title"],
                rules=Ruleset(**rules),
                against=tuple(entry["against"]),
            )
        )
    return tuple(subjects), tuple(Source(**source) for source in data["baselines"])
