"""What the file of JUnit says of a gate: which checkpoint was judged by what and how it ended, as properties of the
suite, which every reader of such files takes; and its checks, under names that tell them apart, each with its figures.

Guards that the file keeps to the schema that Jenkins reads (junit-10.xsd): a test case there has no properties, which
it has only where pytest's `junit_family` is an older one; else they stand in its output, a line
`[[PROPERTY|name=value]]` for each, as those who read properties out of such files take them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement

import pytest
from _pytest.junitxml import xml_key

from pytest_maxact.errors import shown
from pytest_maxact.plugin.ids import is_own, name_of
from pytest_maxact.report.data.properties import PREFIX

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.gate.subject import Subject
    from pytest_maxact.judge.outcome import Checkpoint, Outcome


def name_case(config: pytest.Config, report: pytest.TestReport) -> None:
    """Before pytest writes down a report: its test case is called as the item is, and not by the metric alone."""
    xml = config.stash.get(xml_key, None)
    if xml is not None and is_own(report.nodeid):
        xml.node_reporter(report).add_attribute("name", name_of(report.nodeid))


def complete(config: pytest.Config, gate: "GateSession", outcome: "Outcome | None", passed: bool) -> None:
    """Before pytest writes the file."""
    xml = config.stash.get(xml_key, None)
    if xml is None:
        return
    for name, value in suite_properties(gate, outcome, passed):
        xml.add_global_property(shown(f"{PREFIX}{name}"), value)
    for reporter in xml.node_reporters_ordered if xml.family != "xunit1" else ():
        as_output(reporter.to_xml())


def suite_properties(gate: "GateSession", outcome: "Outcome | None", passed: bool) -> Iterator[tuple[str, str]]:
    """What is known of the run, where nothing could be measured too; of a series with the names of its checkpoints."""
    judged = outcome is not None and bool(outcome.ran)
    yield "verdict", "PASS" if passed and judged else "FAIL" if not passed else "none of the checks was run"
    if outcome is not None:
        yield "checks", f"{sum(len(one.ran) for one in outcome.checkpoints)} of {outcome.checks} were run"
    rules = [subject.rules for subject in gate.plan.subjects]
    yield "limits", ", ".join(dict.fromkeys(file for one in rules for file in one.files))
    concluded = {one.name: one for one in outcome.checkpoints} if outcome else {}
    for subject in gate.plan.subjects:
        place = f"{subject.name}." if subject.name else ""
        for name, value in _of(gate, subject, concluded.get(subject.name)):
            yield f"{place}{name}", value


def _of(gate: "GateSession", subject: "Subject", concluded: "Checkpoint | None") -> Iterator[tuple[str, str]]:
    source, record = subject.source, gate.records.known(subject.source)
    known = record.provenance if record else None
    if source.is_record:
        yield "record", source.path
    if known is None:
        if not source.is_record:
            yield "model", source.path
            if source.revision:
                yield "revision", source.revision
            yield "protocol", gate.settings.protocol
        return
    yield "model", known.model
    if known.revision:
        yield "revision", known.revision
    yield "weights_sha256", known.weights_sha256
    yield "corpus", known.corpus
    yield "corpus_sha256", known.corpus_sha256
    yield "protocol", known.protocol
    if concluded and concluded.portrait:
        yield "m", f"{concluded.portrait.m.value:.9g}"


def as_output(case: Element) -> None:
    """The gate's properties of one test case as lines of its output."""
    held = case.find("properties")
    own = [one for one in held if one.get("name", "").startswith(PREFIX)] if held is not None else []
    if held is None or not own:
        return
    for one in own:
        held.remove(one)
    if not len(held):
        case.remove(held)
    output = case.find("system-out")
    if output is None:
        output = SubElement(case, "system-out")
    lines = (f"[[PROPERTY|{one.get('name')}={_in_line(one.get('value', ''))}]]" for one in own)
    output.text = "\n".join([*filter(None, [output.text]), *lines])


def _in_line(value: str) -> str:
    """A value that ends where it should."""
    return shown(value).replace("]]", "] ]")
