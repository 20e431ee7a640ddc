"""JUnit's file of a run that pytest has no part in: an account in, XML out, with a test case for each check, waiver and
fault, called as the gate's are under pytest.

Guards that the file keeps to the schema that Jenkins reads (junit-10.xsd), in which a test case has no properties: they
are lines of its output, `[[PROPERTY|name=value]]`. A run that could not judge, or did not finish, has an error.
"""

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from pytest_maxact.errors import shown
from pytest_maxact.judge.account import Account, CheckTold, WaiverTold
from pytest_maxact.report.data.problems import NOTHING_RUN
from pytest_maxact.report.data.properties import properties_of
from pytest_maxact.report.junit.suite import suite_properties

_SUITE = "pytest-maxact"
_BEGINNING = 512
_KINDS = {
    "does not hold": "failure", "could not be judged": "error", "waived": "skipped", "deselected": "skipped",
    "not run": "skipped",
}  # fmt: skip
_COUNTED = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def junit_xml(account: Account) -> bytes:
    root = Element("testsuites", name=_SUITE)
    suite = SubElement(root, "testsuite", name=_SUITE)
    held = SubElement(suite, "properties")
    for name, value in suite_properties(account):
        SubElement(held, "property", name=name, value=_plain(value))
    for one in account.checkpoints:
        for check in one.checks:
            _check(suite, account, check)
    for waiver in account.waivers:
        _waiver(suite, account, waiver)
    told = set(account.outcome.waiver_faults) if account.outcome else set[str]()
    faults = [fault for fault in account.faults if fault not in told]
    for fault in faults or ([NOTHING_RUN] if account.verdict == "NONE" else []):
        _ending(_case(suite, "maxact::run"), "error", account.said(fault))
    for kind, counted in _COUNTED.items():
        suite.set(counted, f"{len(suite.findall(f'testcase/{kind}'))}")
    suite.set("tests", f"{len(suite.findall('testcase'))}")
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root)


def is_junit(path: Path) -> bool:
    """Whether a file is one of ours, by its beginning: what may be replaced by one."""
    try:
        with path.open("rb") as file:
            return f'<testsuites name="{_SUITE}">'.encode() in file.read(_BEGINNING)
    except OSError:
        return False


def _check(suite: Element, account: Account, told: CheckTold) -> None:
    case = _case(suite, told.id)
    if kind := _KINDS.get(told.became):
        waiver = told.finding.waiver if told.finding else None
        said = told.finding.message if told.finding else told.why or told.became
        _ending(case, kind, account.said(f"{waiver.words}: {said}" if waiver else said))
    lines = (f"[[PROPERTY|{name}={_in_line(value)}]]" for name, value in properties_of(told.limit, told.finding))
    SubElement(case, "system-out").text = "\n".join(lines)


def _waiver(suite: Element, account: Account, told: WaiverTold) -> None:
    case = _case(suite, told.id)
    if kind := _KINDS.get(told.became):
        _ending(case, kind, account.said(told.fault or told.became))


def _case(suite: Element, id: str) -> Element:
    """Where it belongs is what stands before its name, as pytest has it."""
    place = ".".join(id.partition("[")[0].split("::")[:-1])
    return SubElement(suite, "testcase", classname=_plain(place), name=_plain(id.removeprefix("maxact::")), time="0")


def _ending(case: Element, kind: str, said: str) -> None:
    first, *rest = [_plain(line) for line in said.split("\n")]
    SubElement(case, kind, message=first).text = "\n".join([first, *rest])


def _plain(text: str) -> str:
    """What XML has characters for."""
    return shown(text).encode("utf-8", "backslashreplace").decode()


def _in_line(value: object) -> str:
    """A value that ends where it should."""
    return _plain(str(value)).replace("]]", "] ]")
