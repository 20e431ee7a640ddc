"""The pytest side, in the order pytest calls it. No logic lives here, and nothing heavy is imported unless a gate was
asked for.
"""

import re
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_maxact.errors import InputError, worded
from pytest_maxact.plugin.fixtures import session_key
from pytest_maxact.plugin.refusals import refuse_checkpoints_as_tests, refuse_separate_paths
from pytest_maxact.settings.options import OPTIONS, pytest_option
from pytest_maxact.settings.resolve import resolve

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession

_GATE = re.compile(r"maxact(\[[^/]*\])?")
_written_key = pytest.StashKey[list[str]]()
_unwritten_key = pytest.StashKey[list[str]]()
_selected_key = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("maxact", "maxact: release gate for LLM checkpoints")
    for option in OPTIONS:
        how: dict[str, Any] = (
            {"action": "store_true"} if option.is_flag else {"type": option.parse, "metavar": option.metavar}
        )
        if option.repeatable:
            how["action"] = "append"
        group.addoption(
            pytest_option(option.field),
            dest=f"maxact_{option.field}",
            default=None,
            help=worded(option.help, pytest_option).replace("%", "%%"),
            **how,
        )
        parser.addini(option.ini, help=f"same as {pytest_option(option.field)}", type="string", default=None)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "maxact: a check of the checkpoint gate (--maxact-model, --maxact-replay)")
    if config.getoption("help", False):
        return
    given = {option.field: config.getoption(f"maxact_{option.field}") for option in OPTIONS}
    try:
        settings = resolve(
            given, lambda field: config.getini(f"maxact_{field}"), config.inipath.parent if config.inipath else None
        )
    except InputError as error:
        raise pytest.UsageError(error.worded(pytest_option)) from error
    if not settings.wanted:
        return
    from pytest_maxact.gate.session import GateSession

    workerinput: dict[str, Any] | None = getattr(config, "workerinput", None)
    if workerinput is not None:
        config.stash[session_key] = GateSession(settings, Path(workerinput["maxact_folder"]), lambda: _cache_of(config))
        config.stash[_selected_key] = workerinput["maxact_selected"]
        if workerinput["maxact_only_selected"]:
            config.args = []
        return
    refuse_separate_paths(config)
    refuse_checkpoints_as_tests(config)
    _take_own_ids(config)
    session = GateSession(settings, cache=lambda: _cache_of(config))
    try:
        subjects = session.open(protocol_given=given["protocol"] is not None)
    except InputError as error:
        raise pytest.UsageError(error.worded(pytest_option)) from error
    checks = [f"{subject.node}::{limit.check}" for subject in subjects for limit in subject.rules.limits]
    checks += [f"maxact::waive::{waiver.site}" for waiver in session.waivers]
    for name in config.stash[_selected_key]:
        if not any(_selects(name, check) for check in checks):
            raise pytest.UsageError(f"no check called {name}; list them with --co")
    config.stash[session_key] = session


def _selects(name: str, check: str) -> bool:
    return check == name or check.startswith((f"{name}::", f"{name}:")) or name == "maxact"


def _cache_of(config: pytest.Config) -> Path | None:
    """Where Records of several checkpoints are kept unless the user says where; None where pytest runs without its
    cache.
    """
    cache = getattr(config, "cache", None)
    return Path(cache.mkdir("maxact")) if cache is not None else None


def _take_own_ids(config: pytest.Config) -> None:
    """Ids of the gate on the command line are no paths; keep them aside, or pytest would look for a file called maxact.

    Below the root directory pytest prints them as `../maxact::...`, and so they are pasted.
    """
    own = [
        arg for arg in config.args if _GATE.fullmatch(Path(path := arg.split("::")[0]).name) and not Path(path).exists()
    ]
    config.stash[_selected_key] = [
        "::".join([Path(path).name, *rest]) for path, *rest in (arg.split("::") for arg in own)
    ]
    config.args = [arg for arg in config.args if arg not in own]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Controller side of xdist, once per worker."""
    session = node.config.stash.get(session_key, None)
    if session is not None:
        if session.folder is None:
            session.share(Path(tempfile.mkdtemp(prefix="pytest-maxact-")))
        selected = node.config.stash[_selected_key]
        node.workerinput["maxact_folder"] = str(session.folder)
        node.workerinput["maxact_selected"] = selected
        node.workerinput["maxact_only_selected"] = bool(selected) and not node.config.args


def pytest_report_header(config: pytest.Config) -> str | None:
    session = config.stash.get(session_key, None)
    if session is None:
        return None
    rules, title = session.latest.rules, session.latest.title
    if session.is_series:
        title = f"{len(session.subjects)} checkpoints, {session.subjects[0].name} to {session.latest.name}"
    shape = f", shape {rules.shape}" if rules.shape else ""
    baselines = "".join(f", baseline {name}" for name in session.baseline_names)
    return (
        f"maxact: {title}, family {rules.family}{shape}, protocol {session.settings.protocol}, limits"
        f" {' '.join(rules.files)}{baselines}"
    )


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if (
        isinstance(collector, pytest.Session)
        and report.passed
        and collector.config.stash.get(session_key, None) is not None
    ):
        from pytest_maxact.plugin.items import Gate, Waivers

        session = collector.config.stash[session_key]
        nodes: list[pytest.Collector] = [
            Gate.from_parent(collector, name=subject.node, nodeid=subject.node, subject=subject)
            for subject in session.subjects
        ]
        if session.waivers:
            nodes.append(Waivers.from_parent(collector, name="maxact", nodeid="maxact"))
        report.result = [*report.result, *nodes]
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of the user's that asks for the Record runs once per checkpoint of a series."""
    session = metafunc.config.stash.get(session_key, None)
    if session is not None and "maxact_checkpoint" in metafunc.fixturenames:
        names = [subject.name for subject in session.subjects]
        if session.is_series:
            metafunc.parametrize("maxact_checkpoint", names, ids=names, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    selected = config.stash.get(_selected_key, [])
    if not selected:
        return
    from pytest_maxact.plugin.items import Check, WaiverCheck

    def kept(item: pytest.Item) -> bool:
        return not isinstance(item, (Check, WaiverCheck)) or any(_selects(name, item.nodeid) for name in selected)

    config.hook.pytest_deselected(items=[item for item in items if not kept(item)])
    items[:] = [item for item in items if kept(item)]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write limits, where that was asked for, from what this run measured; its checks were judged by those before."""
    config = session.config
    gate: GateSession | None = config.stash.get(session_key, None)
    if gate is None or not gate.settings.update or hasattr(config, "workerinput") or config.option.collectonly:
        return
    from pytest_maxact.errors import MaxactError, marked

    try:
        config.stash[_written_key] = gate.update()
    except MaxactError as error:
        config.stash[_unwritten_key] = [f"no limits were written: {marked(error)}"]
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: "pytest.TerminalReporter", exitstatus: int, config: pytest.Config
) -> None:
    session: GateSession | None = config.stash.get(session_key, None)
    if session is None or hasattr(config, "workerinput") or config.option.collectonly:
        return
    from pytest_maxact.gate.summary import Outcomes, write_summary

    def reported(*outcomes: str) -> set[str]:
        reports = [report for outcome in outcomes for report in terminalreporter.stats.get(outcome, [])]
        return {name for report in reports if _GATE.fullmatch((name := getattr(report, "nodeid", "")).split("::")[0])}

    broken = reported("failed", "error")
    troubles: list[str] = config.stash.get(_unwritten_key, [])
    if exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
        troubles = ["the run was broken off before its end", *troubles]
    outcomes = Outcomes(run=broken | reported("passed", "xfailed", "xpassed"), failed=broken, troubles=troubles)
    write_summary(terminalreporter, session, outcomes, pytest_option)
    for line in config.stash.get(_written_key, []):
        terminalreporter.write_line(worded(line, pytest_option))


def pytest_unconfigure(config: pytest.Config) -> None:
    session = config.stash.get(session_key, None)
    if session is not None and session.folder is not None and not hasattr(config, "workerinput"):
        shutil.rmtree(session.folder, ignore_errors=True)
