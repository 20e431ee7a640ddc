"""What becomes of the gate's items on their way through pytest, in the order pytest calls it: which were collected,
which the user left out, and what is reported of them.
"""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_maxact.plugin.fixtures import later_key, session_key
from pytest_maxact.plugin.ids import is_own

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession

_items_key = pytest.StashKey[list[pytest.Item]]()
_deselected_key = pytest.StashKey[set[str]]()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if (
        isinstance(collector, pytest.Session)
        and report.passed
        and collector.config.stash.get(session_key, None) is not None
        and later_key not in collector.config.stash
    ):
        from pytest_maxact.plugin.items import Gate, Waivers
        from pytest_maxact.plugin.place import place_of

        plan, path = collector.config.stash[session_key].plan, place_of(collector.config)
        nodes: list[pytest.Collector] = [
            Gate.from_parent(collector, name=subject.node, nodeid=subject.node, path=path, subject=subject)
            for subject in plan.subjects
        ]
        if plan.waivers:
            nodes.append(Waivers.from_parent(collector, name="maxact", nodeid="maxact", path=path))
        report.result = [*report.result, *nodes]
    return report


def pytest_itemcollected(item: pytest.Item) -> None:
    if session_key in item.config.stash and is_own(item.nodeid):
        item.config.stash.setdefault(_items_key, []).append(item)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if session_key in item.config.stash:
            item.config.stash.setdefault(_deselected_key, set()).add(item.nodeid)


def pytest_collection_finish(session: pytest.Session) -> None:
    """In every process that collects: which items the user left out."""
    config = session.config
    if (gate := config.stash.get(session_key, None)) is not None:
        from pytest_maxact.plugin.typed import left_out, typed

        items: list[pytest.Item] = config.stash.get(_items_key, [])
        deselected: set[str] = config.stash.get(_deselected_key, set())
        gate.ledger.excuse(left_out(typed(config), items, deselected))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if session_key in item.config.stash and is_own(item.nodeid):
        from pytest_maxact.plugin.reporters import tell_reporters

        _put_right(item.config.stash[session_key], report)
        tell_reporters(item, report)
    return report


class Reports:
    """Reads the reports of a run, in the process that the user started. Registered last, it is called first of those
    that show and write them, and after those that change them.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_from_serializable(self, data: dict[str, Any]) -> None:
        """From a worker of xdist: what it told of a single tensor."""
        from pytest_maxact.plugin.tensors import put_right

        put_right(self._config, data)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        from pytest_maxact.plugin.finish import COMPLETE, note_report
        from pytest_maxact.plugin.harmless import make_harmless
        from pytest_maxact.plugin.junit import name_case

        name_case(self._config, report)
        if is_own(report.nodeid) and report.nodeid != COMPLETE:
            _put_right(self._config.stash[session_key], report)
        if is_own(report.nodeid):
            make_harmless(report)
        note_report(self._config, report)


def _put_right(gate: "GateSession", report: pytest.TestReport) -> None:
    from pytest_maxact.plugin.putting_right import put_right

    if said := put_right(report, gate.ledger.entry(report.nodeid)):
        gate.ledger.change(report.nodeid, said)
