"""What the schema of JUnit's files that Jenkins reads allows."""

import xml.etree.ElementTree as ET

ALLOWED = {
    "testsuites": ({"testsuite"}, {"name", "time", "tests", "failures", "disabled", "errors"}),
    "testsuite": (
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        {
            *("name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id"),
            *("package", "file", "log", "url", "version"),
        },
    ),
    "testcase": (
        {
            *("skipped", "error", "failure", "rerunFailure", "rerunError", "flakyFailure", "flakyError"),
            *("system-out", "system-err"),
        },
        {"name", "time", "classname", "group"},
    ),
    "properties": ({"property"}, set[str]()),
    "property": (set[str](), {"name", "value"}),
    "failure": (set[str](), {"type", "message"}),
    "error": (set[str](), {"type", "message"}),
    "skipped": (set[str](), {"type", "message"}),
}
"""By element, what junit-10.xsd allows in it: children and attributes."""


def strict(element: ET.Element) -> None:
    children, attributes = ALLOWED[element.tag]
    assert {child.tag for child in element} <= children
    assert set(element.attrib) <= attributes
    assert {"property": {"name", "value"}, "testcase": {"name"}}.get(element.tag, set()) <= set(element.attrib)
    for child in element:
        if child.tag in ALLOWED:
            strict(child)
