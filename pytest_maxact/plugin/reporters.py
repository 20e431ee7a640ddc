"""What other reporters show of a check, in the place that each has for it: a report with the check's properties in,
the same with an entry of pytest-html, parameters of CTRF and of Allure out. Nothing of theirs is imported unless they
write.
"""

from html import escape
from importlib import import_module
from typing import Any

import pytest

from pytest_maxact.errors import shown
from pytest_maxact.report.data.properties import PREFIX

_EXTRAS = "extras"
"""What pytest-html reads of a report."""
_CTRF = "_ctrf_metadata"
"""What pytest-json-ctrf reads of every report of an item, the last that it sees, and keeps on the item between them: a
dict with `parameters`.
"""


def tell_reporters(item: pytest.Item, report: pytest.TestReport) -> None:
    """On the report that says what became of a check: of its call, or of a setup that failed."""
    if report.when != "call" and not (report.when == "setup" and report.failed):
        return
    told = [(name.removeprefix(PREFIX), value) for name, value in report.user_properties if name.startswith(PREFIX)]
    if not told:
        return
    config = item.config
    if config.getoption("htmlpath", None):
        entry = {"name": "maxact", "format_type": "html", "content": table(told), "mime_type": None, "extension": None}
        setattr(report, _EXTRAS, [*getattr(report, _EXTRAS, []), entry])
    if config.getoption("ctrf", None):
        kept: dict[str, Any] = getattr(item, _CTRF, {})
        kept["parameters"] = dict(told)
        setattr(report, _CTRF, kept)
    if config.getoption("allure_report_dir", None):
        allure = import_module("allure")
        for name, value in told:
            allure.dynamic.parameter(name, value, excluded=True)  # figures are no part of what the test is


def table(told: list[tuple[str, object]]) -> str:
    """Names and values as rows, every one as text."""
    rows = (f"<tr><td>{escape(name)}</td><td>{escape(shown(str(value)))}</td></tr>" for name, value in told)
    return f"<table>{''.join(rows)}</table>"
