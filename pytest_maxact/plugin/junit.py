"""What the file of JUnit says of a gate: which checkpoint was judged by what and how it ended, as properties of the
suite, which every reader of such files takes; and its checks, under names that tell them apart, each with its figures.

Guards that no run which was refused, broken off or could not judge leaves a file without an error, or that of an
earlier run; and that the file keeps to the schema that Jenkins reads (junit-10.xsd): a test case there has no
properties, which it has only where pytest's `junit_family` is an older one; else they stand in its output, a line
`[[PROPERTY|name=value]]` for each, as those who read properties out of such files take them.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement

import pytest
from _pytest.junitxml import LogXML, bin_xml_escape, xml_key

from pytest_maxact.errors import MaxactError, marked, message, shown
from pytest_maxact.judge.account import Account
from pytest_maxact.plugin.ids import is_own, name_of
from pytest_maxact.report.data.properties import PREFIX
from pytest_maxact.report.junit.suite import suite_properties
from pytest_maxact.settings.option import pytest_option
from pytest_maxact.settings.places import expanded

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.judge.outcome import Outcome

_ROOT, _BEGINNING = b"<testsuite", 512
"""What such a file begins with, whoever wrote it."""
_place_key = pytest.StashKey[Path]()


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
    account = _account(config, gate, outcome, troubles)
    for name, value in suite_properties(account):
        xml.add_global_property(name, value)
    _add_untold(xml, account)
    for reporter in xml.node_reporters_ordered if xml.family != "xunit1" else ():
        as_output(reporter.to_xml())


def _account(config: pytest.Config, gate: "GateSession", outcome: "Outcome | None", troubles: Sequence[str]) -> Account:
    from pytest_maxact.gate.account import account_of
    from pytest_maxact.gate.reports import repository

    try:
        return account_of(gate, outcome, troubles, pytest_option, repository(config.invocation_params.dir))
    except (MaxactError, ValueError, OSError) as error:
        return Account(verdict="FAIL", faults=(marked(error),), words=pytest_option)


def begin(config: pytest.Config) -> None:
    """Until pytest writes it, the file says that the run did not finish."""
    from pytest_maxact.plugin.typed import typed

    if not typed(config).looks and _finds_place(config, config.option):
        put(config, Account())


def put_unparsed(config: pytest.Config, why: str, given: object) -> None:
    """Of a run that ended before its command line was read for good; `given`: what was read of it, None for nothing."""
    if _finds_place(config, given):
        put(config, Account(faults=(why,), words=pytest_option))


def _finds_place(config: pytest.Config, options: object) -> bool:
    if given := getattr(options, "xmlpath", None):
        config.stash[_place_key] = config.invocation_params.dir / expanded(given)
    return bool(given)


def add_late(config: pytest.Config, fault: str) -> None:
    """What failed a run that had passed, when pytest has written its file: it is written again."""
    if (xml := config.stash.get(xml_key, None)) is not None:
        _add_untold(xml, Account(faults=(fault,), words=pytest_option))
        with suppress(OSError):
            xml.pytest_sessionfinish()


def put(config: pytest.Config, account: Account) -> None:
    """A file of a run that has none of pytest's. What lies there and is no such file stays, and what cannot be written
    is told by pytest, who tries it again.
    """
    from pytest_maxact.record.whole import write_whole
    from pytest_maxact.report.junit.document import junit_xml

    if (place := config.stash.get(_place_key, None)) is None:
        return
    with suppress(OSError):
        if not place.exists() or (place.is_file() and _ROOT in place.read_bytes()[:_BEGINNING]):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, junit_xml(account), None)


def _add_untold(xml: LogXML, account: Account) -> None:
    """A test case with an error for what went wrong and no other tells: readers go by test cases alone."""
    endings = (one for reporter in xml.node_reporters_ordered for one in reporter.to_xml())
    told = [one.text or "" for one in endings if one.tag in ("failure", "error")]
    said = [bin_xml_escape(message(fault, account.words)) for fault in account.faults]
    untold = [fault for fault in said if not any(fault.split("\n")[0] in text for text in told)]
    if untold:
        case = xml.node_reporter("maxact::run")
        case.attrs.update(classname="maxact", name="run")
        case.append(error := Element("error", message=untold[0].split("\n")[0]))
        error.text = "\n".join(untold)


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
