"""The pytest side, in the order pytest calls it. No logic lives here, and nothing heavy is imported unless a gate was
asked for.
"""

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pytest_maxact.errors import InputError, MaxactError, marked, name_in_id, one_line, worded
from pytest_maxact.plugin.fixtures import gate_of, later_key, parser_key, session_key
from pytest_maxact.plugin.heading import HEADING
from pytest_maxact.plugin.opening import asked_for, begin, hand_over, is_left_out, join, put_away, selected_key, share
from pytest_maxact.plugin.refusals import refuse_unknown_options
from pytest_maxact.settings.option import pytest_option
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.single import Single

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession

LEFT_OUT = "this run names its tests, and leaves out the gate of the ini file; with --maxact-model both run"
_refusal_key = pytest.StashKey[InputError]()
_written_key = pytest.StashKey[list[str]]()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_maxact.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)
    if (config := pluginmanager.get_plugin("pytestconfig")) is not None:
        config.add_cleanup(lambda: _tell_unparsed(config))
    if os.environ.get("RANK") and os.environ.get("WORLD_SIZE", "1") != "1":
        from pytest_maxact.plugin.ranks import Ranks

        pluginmanager.register(Ranks(lambda config: asked_for(config) and not is_left_out(config)), "maxact-ranks")


def _tell_unparsed(config: pytest.Config) -> None:
    if isinstance(sys.exc_info()[1], pytest.UsageError):
        from pytest_maxact.plugin.github import tell_unparsed

        tell_unparsed(config)


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
    try:
        yield
    except Exception as error:
        from pytest_maxact.plugin.github import tell_conftest

        tell_conftest(early_config, error)
        raise
    refuse_unknown_options(parser, args)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(
    config: pytest.Config,
) -> Generator[None, int | pytest.ExitCode | None, int | pytest.ExitCode | None]:
    """The first word of a run that asks for a gate, and the last."""
    if hasattr(config, "workerinput") or not asked_for(config) or is_left_out(config):
        return (yield)
    from pytest_maxact.plugin.ended import ends_by_signal, told_unread
    from pytest_maxact.plugin.finish import end
    from pytest_maxact.plugin.github import told_at_last
    from pytest_maxact.plugin.ranks import led, place
    from pytest_maxact.plugin.typed import refuse_looking_only, typed

    if (here := place()) and not here.leads:
        refuse_looking_only(config)
        return (yield)
    alone = ends_by_signal(config) if here is None else nullcontext()  # a launcher of ranks has its own way
    with alone, told_at_last(config), told_unread(), led(config) as ended:
        refuse_looking_only(config)
        status = yield
        status = status if typed(config).looks else end(config, status)
        ended.append(int(status or 0))
        return status


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "maxact: a check of the checkpoint gate (--maxact-model, --maxact-replay)")
    if config.getoption("help", False):
        return
    with _usage(config):
        if hasattr(config, "workerinput"):
            join(config, config.workerinput)
        else:
            begin(config)


@contextmanager
def _usage(config: pytest.Config) -> Iterator[None]:
    """What is wrong with the request, as pytest tells it."""
    try:
        yield
    except InputError as error:
        _tell_refusal(config, error)
        raise pytest.UsageError(error.worded(pytest_option)) from error


def _tell_refusal(config: pytest.Config, error: InputError) -> None:
    if not hasattr(config, "workerinput"):
        from pytest_maxact.plugin import files, github

        files.tell_refusal(config, error)
        github.tell_refusal(config, error)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Controller side of xdist, once per worker, before the worker starts."""
    with _usage(node.config):
        hand_over(node.config, node.workerinput)


def pytest_report_header(config: pytest.Config) -> list[str]:
    if later_key in config.stash:
        return [f"maxact: {LEFT_OUT}"]
    session = config.stash.get(session_key, None)
    if session is None:
        return []
    from pytest_maxact.plugin.ranks import heading

    return [one_line(f"maxact: {line}") for line in (session.headline, session.placed, heading(config)) if line]


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """A gate that was opened while tests were collected is refused here, where that is a usage error."""
    result = yield
    if (refusal := session.config.stash.get(_refusal_key, None)) and not hasattr(session.config, "workerinput"):
        _tell_refusal(session.config, refusal)
        raise pytest.UsageError(refusal.worded(pytest_option))
    return result


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of the user's that asks for the Record runs once per checkpoint of a series."""
    if "maxact_checkpoint" not in metafunc.fixturenames or _refusal_key in metafunc.config.stash:
        return
    try:
        session = gate_of(metafunc.config)
    except InputError as error:
        metafunc.config.stash[_refusal_key] = error
        return
    if session is not None and session.plan.is_series:
        names = [subject.name for subject in session.plan.subjects]
        ids = [name_in_id(name) for name in names]
        metafunc.parametrize("maxact_checkpoint", names, ids=ids, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    selected = config.stash.get(selected_key, [])
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
        from pytest_maxact.plugin.files import note_begun
        from pytest_maxact.plugin.watching import Reports

        session.config.pluginmanager.register(Reports(session.config), "maxact-reports")
        with _usage(session.config):
            note_begun(session.config)
        if session.config.getoption("forked", False):
            with _usage(session.config):
                share(session.config, gate)
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

    return not hasattr(config, "workerinput") and not typed(config).looks and later_key not in config.stash


def _update(session: pytest.Session, gate: "GateSession") -> None:
    from pytest_maxact.plugin.finish import trouble_key

    try:
        session.config.stash[_written_key] = gate.update()
    except (MaxactError, OSError) as error:
        session.config.stash.setdefault(trouble_key, []).append(f"no limits were written: {marked(error)}")
        session.testsfailed += bool(session.testscollected)


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter", config: pytest.Config) -> None:
    session: GateSession | None = config.stash.get(session_key, None)
    if later_key in config.stash and (config.get_verbosity() < 0 or config.getoption("no_header", False)):
        terminalreporter.write_line(f"maxact: {LEFT_OUT}")
    if session is not None and config.getoption("setuponly", False):
        option = "--setup-plan" if config.getoption("setupplan", False) else "--setup-only"
        terminalreporter.write_line(f"maxact: none of the {len(session.plan.ids)} checks was judged: {option}")
    if session is None or not _concludes(config):
        return
    from pytest_maxact.plugin.closing import put_back
    from pytest_maxact.plugin.finish import outcome_key
    from pytest_maxact.plugin.section import write_summary

    put_back(terminalreporter, config)
    write_summary(terminalreporter, config.stash.get(outcome_key, None))
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
    from pytest_maxact.plugin.files import say_written
    from pytest_maxact.plugin.finish import conclude_run, enforce, fail_late, outcome_key, write_verdict
    from pytest_maxact.plugin.github import tell_runner
    from pytest_maxact.plugin.project import give_outcome

    conclude_run(session, gate)
    try:
        result = yield
        enforce(session)
        give_outcome(config, config.stash.get(outcome_key, None))
    except InputError as error:
        fail_late(config, marked(error))
        pytest.exit(error.worded(pytest_option), returncode=int(session.exitstatus) or pytest.ExitCode.USAGE_ERROR)
    finally:
        with ExitStack() as last:  # each of them, whatever becomes of those before
            last.callback(enforce, session)
            last.callback(tell_runner, config, gate)
            last.callback(write_verdict, session, gate)
            last.callback(say_written, config, gate)
    return result


def pytest_unconfigure(config: pytest.Config) -> None:
    put_away(config)
