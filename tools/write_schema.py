"""limits.schema.json, the form of a limits file for editors, and report.schema.json, that of the JSON report of a run
for programs, written from the models that read the one and write the other.

    python -m tools.write_schema

A test compares what is there with what this would write.
"""

import json
from pathlib import Path
from typing import Any

from pytest_maxact.judge.limits.schema.document import LimitsDocument
from pytest_maxact.report.data.run.form import SCHEMA, RunReport

_HERE = Path(__file__).parents[1]
LIMITS, REPORT = _HERE / "limits.schema.json", _HERE / "report.schema.json"


def schemas() -> dict[Path, str]:
    """Every published schema by its file."""
    return {
        LIMITS: _text("Limits of pytest-maxact", LimitsDocument.model_json_schema()),
        REPORT: _text(
            "Report of a run of pytest-maxact",
            _open(RunReport.model_json_schema(mode="serialization")),
            **{"$id": SCHEMA},
        ),
    }


def _open(schema: Any) -> Any:
    """The same, with keys of a later version let stand."""
    if isinstance(schema, dict):
        kept = {key: _open(value) for key, value in schema.items()}
        return {key: value for key, value in kept.items() if (key, value) != ("additionalProperties", False)}
    return [_open(one) for one in schema] if isinstance(schema, list) else schema


def _text(title: str, schema: dict[str, Any], **more: str) -> str:
    form = {"$schema": "https://json-schema.org/draft/2020-12/schema", **more, **schema, "title": title}
    return json.dumps(form, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file, text in schemas().items():
        file.write_text(text, encoding="utf-8")
