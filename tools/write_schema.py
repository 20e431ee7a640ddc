"""limits.schema.json, the form of a limits file for editors, written from the models that read it.

    python -m tools.write_schema

A test compares what is there with what this would write.
"""

import json
from pathlib import Path

from pytest_maxact.judge.limits.schema.document import LimitsDocument

SCHEMA = Path(__file__).parents[1] / "limits.schema.json"


def schema() -> str:
    form = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **LimitsDocument.model_json_schema(),
        "title": "Limits of pytest-maxact",
    }
    return json.dumps(form, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
