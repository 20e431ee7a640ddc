"""What the file of JUnit says of a gate: which checkpoint was judged by what and how it ended, as properties of the
suite, which every reader of such files takes; and its checks, under names that tell them apart.

Guards that the file keeps to the schema that Jenkins reads (junit-10.xsd): a test case there has no properties, so the
gate's have them only where pytest's `junit_family` is an older one.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

import pytest
from _pytest.junitxml import xml_key

from pytest_maxact.plugin.ids import is_own, name_of

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.gate.subject import Subject
    from pytest_maxact.judge.outcome import Checkpoint, Outcome

_PREFIX = "maxact."


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
        xml.add_global_property(f"{_PREFIX}{name}", value)
    figures = _figures(outcome)
    for reporter in xml.node_reporters_ordered:
        _settle(reporter.to_xml(), figures, allowed=xml.family == "xunit1")


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


def _figures(outcome: "Outcome | None") -> dict[str, dict[str, object]]:
    """The numbers that were found, by the names of test cases: what is no number in JSON is a word in XML."""
    return {
        name_of(f"{one.node}::{finding.limit.check}"): {
            f"{_PREFIX}value": finding.value, f"{_PREFIX}limit": finding.limit.bound
        }
        for one in (outcome.checkpoints if outcome else ())
        for finding in one.findings
    }  # fmt: skip


def _settle(case: Element, figures: Mapping[str, Mapping[str, object]], allowed: bool) -> None:
    """The gate's properties of one test case: gone, or with all their figures."""
    held = case.find("properties")
    if held is None:
        return
    known = figures.get(case.get("name", ""), {})
    for one in held.findall("property"):
        name = one.get("name", "")
        if not name.startswith(_PREFIX):
            continue
        if not allowed:
            held.remove(one)
        elif name in known:
            one.set("value", str(known[name]))
    if not len(held):
        case.remove(held)
