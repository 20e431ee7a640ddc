"""The pytest side, in the order pytest calls it. No logic lives here, and nothing heavy is imported unless a gate was
asked for.
"""

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_maxact.errors import InputError, MaxactError, marked, worded
from pytest_maxact.plugin.fixtures import parser_key, session_key
from pytest_maxact.plugin.heading import HEADING
from pytest_maxact.plugin.inifile import NOTHING, refuse_unknown_keys, written
from pytest_maxact.plugin.refusals import refuse_unknown_options
from pytest_maxact.settings.options import OPTIONS, pytest_option
from pytest_maxact.settings.resolve import resolve
from pytest_maxact.settings.single import Single

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.settings.settings import Settings

_folder_key = pytest.StashKey[Path]()
_shared_key = pytest.StashKey[bool]()
_selected_key = pytest.StashKey[list[str]]()
_written_key = pytest.StashKey[list[str]]()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_maxact.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("maxact", HEADING)
    for option in OPTIONS:
        how: dict[str, Any] = (
            {"action": "store_true"} if option.is_flag else {"type": option.parse, "metavar": option.metavar}
        )
        if not option.is_flag:
            how["action"] = "append" if option.repeatable else Single
        group.addoption(
            pytest_option(option.field),
            dest=f"maxact_{option.field}",
            default=None,
            help=worded(option.help, pytest_option).replace("%", "%%"),
            **how,
        )
        parser.addini(option.ini, help=f"same as {pytest_option(option.field)}", type="string", default=None)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Before the command line is parsed for good, and after the last who may add an option to it."""
    early_config.stash[parser_key] = parser
    yield
    refuse_unknown_options(parser, args)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(
    config: pytest.Config,
) -> Generator[None, int | pytest.ExitCode | None, int | pytest.ExitCode | None]:
    """The first word of a run that asks for a gate, and the last."""
    if hasattr(config, "workerinput") or not _asked_for(config):
        return (yield)
    from pytest_maxact.plugin.finish import end
    from pytest_maxact.plugin.typed import refuse_looking_only, typed

    refuse_looking_only(config)
    status = yield
    return status if typed(config).looks else end(config, status)


def _asked_for(config: pytest.Config) -> bool:
    """Whether a gate was, on the command line or in the ini file."""
    ini = written(config)
    return any(
        config.getoption(f"maxact_{field}", None) or not ini.get(f"maxact_{field}", NOTHING).is_none
        for field in ("model", "replay")
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "maxact: a check of the checkpoint gate (--maxact-model, --maxact-replay)")
    if config.getoption("help", False):
        return
    if hasattr(config, "workerinput"):
        _join(config, config.workerinput)
        return
    given = {option.field: config.getoption(f"maxact_{option.field}") for option in OPTIONS}
    try:
        folder, ini = config.inipath.parent if config.inipath else Path(), written(config)
        if place := given["verdict"] or (_asked_for(config) and ini.get("maxact_verdict", NOTHING).value):
            from pytest_maxact.plugin.finish import begin_verdict

            begin_verdict(config, str(place if given["verdict"] else folder / str(place)), given["model"])
        refuse_unknown_keys(config)
        settings = resolve(given, ini, folder if config.inipath else None)
        if settings.wanted:
            _open(config, settings, protocol_given=given["protocol"] is not None)
    except InputError as error:
        raise pytest.UsageError(error.worded(pytest_option)) from error


def _open(config: pytest.Config, settings: "Settings", protocol_given: bool) -> None:
    """In the process that the user started."""
    from pytest_maxact.gate.session import open_session
    from pytest_maxact.plugin.closing import Closing
    from pytest_maxact.plugin.finish import begin_verdict, note_opened
    from pytest_maxact.plugin.ids import known_as, take_own
    from pytest_maxact.plugin.project import with_hooks
    from pytest_maxact.plugin.refusals import (
        refuse_checkpoints_as_tests,
        refuse_separate_paths,
        refuse_settings_given_twice,
    )

    refuse_settings_given_twice(config)
    refuse_separate_paths(config)
    refuse_checkpoints_as_tests(config)
    selected = take_own(config)
    settings = with_hooks(config, settings, lambda: _folder_of(config))
    if settings.verdict:
        begin_verdict(config, settings.verdict, settings.model or settings.replay)
    session = open_session(settings, protocol_given=protocol_given, cache=lambda: _cache_of(config))
    selected = known_as(selected, session.plan.ids)
    config.stash[session_key], config.stash[_selected_key] = session, selected
    config.pluginmanager.register(Closing(session), "maxact-closing")
    note_opened(config, session)


def _join(config: pytest.Config, given: dict[str, Any]) -> None:
    """In an xdist worker, with what `pytest_configure_node` gave it."""
    if "maxact_folder" not in given:
        return
    from pytest_maxact.gate.session import join_session
    from pytest_maxact.plugin.typed import take_typed

    config.stash[session_key] = join_session(Path(given["maxact_folder"]), cache=lambda: _cache_of(config))
    config.stash[_selected_key] = given["maxact_selected"]
    take_typed(config, given["maxact_typed"])
    if given["maxact_only_selected"]:
        config.args = []


def _cache_of(config: pytest.Config) -> Path | None:
    """Where Records of several checkpoints are kept unless the user says where; None where pytest runs without its
    cache.
    """
    cache = getattr(config, "cache", None)
    return Path(cache.mkdir("maxact")) if cache is not None else None


def _folder_of(config: pytest.Config) -> Path:
    """What the processes of this run share, until its end."""
    if _folder_key not in config.stash:
        config.stash[_folder_key] = Path(tempfile.mkdtemp(prefix="pytest-maxact-"))
    return config.stash[_folder_key]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Controller side of xdist, once per worker, before the worker starts."""
    config: pytest.Config = node.config
    session = config.stash.get(session_key, None)
    if session is not None:
        from pytest_maxact.plugin.typed import typed

        folder, selected = _folder_of(config), config.stash[_selected_key]
        if not config.stash.setdefault(_shared_key, False):
            session.share(folder)
            config.stash[_shared_key] = True
        node.workerinput["maxact_folder"] = str(folder)
        node.workerinput["maxact_selected"] = selected
        node.workerinput["maxact_typed"] = typed(config).plain()
        node.workerinput["maxact_only_selected"] = bool(selected) and not config.args


def pytest_report_header(config: pytest.Config) -> str | None:
    session = config.stash.get(session_key, None)
    return f"maxact: {session.headline}" if session is not None else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of the user's that asks for the Record runs once per checkpoint of a series."""
    session = metafunc.config.stash.get(session_key, None)
    if session is not None and session.plan.is_series and "maxact_checkpoint" in metafunc.fixturenames:
        names = [subject.name for subject in session.plan.subjects]
        metafunc.parametrize("maxact_checkpoint", names, ids=names, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    selected = config.stash.get(_selected_key, [])
    if not selected:
        return
    from pytest_maxact.plugin.ids import selects
    from pytest_maxact.plugin.items import Check, WaiverCheck

    def kept(item: pytest.Item) -> bool:
        return not isinstance(item, (Check, WaiverCheck)) or selects(selected, item.nodeid)

    config.hook.pytest_deselected(items=[item for item in items if not kept(item)])
    items[:] = [item for item in items if kept(item)]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """When the last check has run, or what broke the run off: limits are written, where that was asked for, and checks
    that did not run are reported. Pytest makes its exit status of `testsfailed` after this hook.
    """
    gate: GateSession | None = session.config.stash.get(session_key, None)
    if gate and _concludes(session.config):
        from pytest_maxact.plugin.watching import Reports

        session.config.pluginmanager.register(Reports(session.config), "maxact-reports")
    stopped = True
    try:
        result = yield
        stopped = bool(session.shouldfail or session.shouldstop)
        return result
    finally:
        if gate and _concludes(session.config):
            from pytest_maxact.plugin.finish import close

            if gate.settings.update:
                _update(session, gate)
            close(session, gate, stopped)


def _concludes(config: pytest.Config) -> bool:
    """Whether this process is the one that the user started, and checks were to run."""
    from pytest_maxact.plugin.typed import typed

    return not hasattr(config, "workerinput") and not typed(config).looks


def _update(session: pytest.Session, gate: "GateSession") -> None:
    from pytest_maxact.plugin.finish import trouble_key

    try:
        session.config.stash[_written_key] = gate.update()
    except MaxactError as error:
        session.config.stash.setdefault(trouble_key, []).append(f"no limits were written: {marked(error)}")
        session.testsfailed += bool(session.testscollected)


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter", config: pytest.Config) -> None:
    session: GateSession | None = config.stash.get(session_key, None)
    if session is None or not _concludes(config):
        return
    from pytest_maxact.plugin.closing import put_back
    from pytest_maxact.plugin.finish import outcome_key
    from pytest_maxact.plugin.section import write_summary

    put_back(terminalreporter, config)
    write_summary(terminalreporter, session, config.stash.get(outcome_key, None))
    for line in config.stash.get(_written_key, []):
        terminalreporter.write_line(worded(line, pytest_option))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """The outcome is put together first of all, and goes to the project when all is said. `pytest.exit` is pytest's way
    to another exit status here.
    """
    config = session.config
    gate: GateSession | None = config.stash.get(session_key, None)
    if gate is None or not _concludes(config):
        return (yield)
    from pytest_maxact.plugin.finish import conclude_run, enforce, outcome_key, write_verdict
    from pytest_maxact.plugin.project import give_outcome

    conclude_run(session, gate)
    try:
        result = yield
        enforce(session)
        give_outcome(config, config.stash.get(outcome_key, None))
    except InputError as error:
        pytest.exit(error.worded(pytest_option), returncode=int(session.exitstatus) or pytest.ExitCode.USAGE_ERROR)
    finally:
        write_verdict(session, gate)
        enforce(session)
    return result


def pytest_unconfigure(config: pytest.Config) -> None:
    if _folder_key in config.stash:
        shutil.rmtree(config.stash[_folder_key], ignore_errors=True)
