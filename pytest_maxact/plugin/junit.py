"""What the file of JUnit says of a gate: which checkpoint was judged by what and how it ended, as properties of the
suite, which every reader of such files takes; and its checks, under names that tell them apart, each with its figures.

Guards that the file keeps to the schema that Jenkins reads (junit-10.xsd): a test case there has no properties, which
it has only where pytest's `junit_family` is an older one; else they stand in its output, a line
`[[PROPERTY|name=value]]` for each, as those who read properties out of such files take them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement

import pytest
from _pytest.junitxml import xml_key

from pytest_maxact.errors import MaxactError, marked, shown
from pytest_maxact.judge.account import Account
from pytest_maxact.plugin.ids import is_own, name_of
from pytest_maxact.report.data.properties import PREFIX
from pytest_maxact.report.junit.suite import suite_properties
from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.judge.outcome import Outcome


def name_case(config: pytest.Config, report: pytest.TestReport) -> None:
    """Before pytest writes down a report: its test case is called as the item is, and not by the metric alone."""
    xml = config.stash.get(xml_key, None)
    if xml is not None and is_own(report.nodeid):
        xml.node_reporter(report).add_attribute("name", name_of(report.nodeid))


def complete(config: pytest.Config, gate: "GateSession", outcome: "Outcome | None", troubles: Sequence[str]) -> None:
    """Before pytest writes the file."""
    xml = config.stash.get(xml_key, None)
    if xml is None:
        return
    for name, value in suite_properties(_account(config, gate, outcome, troubles)):
        xml.add_global_property(name, value)
    for reporter in xml.node_reporters_ordered if xml.family != "xunit1" else ():
        as_output(reporter.to_xml())


def _account(config: pytest.Config, gate: "GateSession", outcome: "Outcome | None", troubles: Sequence[str]) -> Account:
    from pytest_maxact.gate.account import account_of
    from pytest_maxact.gate.reports import repository

    try:
        return account_of(gate, outcome, troubles, pytest_option, repository(config.invocation_params.dir))
    except (MaxactError, ValueError, OSError) as error:
        return Account(verdict="FAIL", faults=(marked(error),), words=pytest_option)


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
