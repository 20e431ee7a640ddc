"""The gate of a pytest run: opened where the run starts, joined in a worker of xdist, and left out of a run that names
its tests, where it is opened once one of them asks for the Record.

Nothing heavy is imported unless a gate was asked for.
"""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_maxact.errors import InputError, setting
from pytest_maxact.plugin.fixtures import later_key, session_key
from pytest_maxact.plugin.inifile import refuse_unknown_keys, value_of, written
from pytest_maxact.settings.options import OPTIONS

if TYPE_CHECKING:
    from pytest_maxact.gate.records import Cache
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.settings.settings import Settings

selected_key = pytest.StashKey[list[str]]()
"""Ids of the gate's own on the command line."""

_folder_key = pytest.StashKey[Path]()
_shared_key = pytest.StashKey[bool]()


def asked_for(config: pytest.Config) -> bool:
    """Whether a gate was, on the command line or in the ini file."""
    return any(
        config.getoption(f"maxact_{field}", None) or value_of(config, field) is not None
        for field in ("model", "replay")
    )


def is_left_out(config: pytest.Config) -> bool:
    """Whether the gate of the ini file is, for the run names its tests."""
    from pytest_maxact.plugin.typed import names_its_tests

    return asked_for(config) and names_its_tests(config)


def begin(config: pytest.Config) -> None:
    """In the process that the user started. Raises InputError for a request that is wrong."""
    unused = not written(config) and all(value is None for value in _given(config).values())
    left_out = not unused and is_left_out(config)
    if not unused and not left_out:
        _begin_files(config)
    refuse_unknown_keys(config)
    if unused:
        return
    settings = _settings(config)
    if settings.wanted and left_out:
        _leave_out(config, settings)
    elif settings.wanted:
        _open_first(config, settings)


def join(config: pytest.Config, given: dict[str, Any]) -> None:
    """In a worker of xdist, with what `hand_over` gave it."""
    if "maxact_left_out" in given:
        _leave_out(config, _settings(config), Path(given["maxact_folder"]))
    elif "maxact_folder" in given:
        from pytest_maxact.gate.session import join_session
        from pytest_maxact.plugin.typed import take_typed

        config.stash[session_key] = join_session(Path(given["maxact_folder"]), _cache_of(config), _unwaived(config))
        config.stash[selected_key] = given["maxact_selected"]
        take_typed(config, given["maxact_typed"])
        if given["maxact_only_selected"]:
            config.args = []


def hand_over(config: pytest.Config, given: dict[str, Any]) -> None:
    """In the process that the user started, what a worker needs to join."""
    session = config.stash.get(session_key, None)
    if later_key in config.stash:
        given |= {"maxact_folder": str(_folder_of(config)), "maxact_left_out": True}
    elif session is not None:
        from pytest_maxact.plugin.typed import typed

        selected = config.stash[selected_key]
        given["maxact_folder"] = str(share(config, session))
        given["maxact_selected"] = selected
        given["maxact_typed"] = typed(config).plain()
        given["maxact_only_selected"] = bool(selected) and not config.args


def share(config: pytest.Config, session: "GateSession") -> Path:
    """Let the processes of this run meet, workers or those that it forks; where."""
    from pytest_maxact.gate.meeting import unshared

    folder = _folder_of(config)
    if not config.stash.setdefault(_shared_key, False):
        try:
            session.share(folder)
        except OSError as error:
            raise InputError(unshared(folder, error)) from error
        config.stash[_shared_key] = True
    return folder


def put_away(config: pytest.Config) -> None:
    """At the very end: what the processes of this run shared."""
    if _folder_key in config.stash:
        shutil.rmtree(config.stash[_folder_key], ignore_errors=True)


def _given(config: pytest.Config) -> dict[str, Any]:
    """What the command line has of every option, None for nothing."""
    return {option.field: config.getoption(option.ini) for option in OPTIONS}


def _settings(config: pytest.Config) -> "Settings":
    from pytest_maxact.settings.resolve import resolve

    return resolve(_given(config), written(config), config.inipath.parent if config.inipath else None)


def _begin_files(config: pytest.Config) -> None:
    """Those of this run, also where what else was asked for is wrong."""
    from pytest_maxact.gate.github import AUTO, summary_place
    from pytest_maxact.gate.reports import REPORTS, require_apart
    from pytest_maxact.plugin import junit
    from pytest_maxact.plugin.files import begin_reports
    from pytest_maxact.plugin.finish import begin_verdict

    junit.begin(config)
    about = config.getoption("maxact_model")
    fields = ("verdict", "save", "hunt_out", *(one.setting for one in REPORTS))
    outputs = {setting(field): place for field in fields if (place := _place_of(config, field))}
    others = {"--junitxml": "xmlpath", "--html": "htmlpath"}
    outputs |= {name: place for name, dest in others.items() if (place := config.getoption(dest, None))}
    github = str(config.getoption("maxact_github") or value_of(config, "github") or AUTO)
    require_apart(outputs | summary_place(github), config.invocation_params.dir)
    if place := _place_of(config, "verdict"):
        begin_verdict(config, place, about)
    places = {one.setting: place for one in REPORTS if (place := _place_of(config, one.setting))}
    begin_reports(config, places, _place_of(config, "model") or _place_of(config, "replay"))


def _place_of(config: pytest.Config, field: str) -> str | None:
    given: str | None = config.getoption(f"maxact_{field}")
    if given or value_of(config, field) is None or not asked_for(config):
        return given
    from pytest_maxact.settings.ini import ini_value

    option = next(option for option in OPTIONS if option.field == field)
    found: str = ini_value(option, written(config)[option.ini], config.inipath.parent if config.inipath else None)
    return found


def _open_first(config: pytest.Config, settings: "Settings") -> None:
    """Before anything is collected."""
    from pytest_maxact.gate.reports import places_of
    from pytest_maxact.plugin.closing import Closing
    from pytest_maxact.plugin.files import begin_reports, note_places
    from pytest_maxact.plugin.finish import begin_verdict, note_opened
    from pytest_maxact.plugin.ids import known_as, take_own
    from pytest_maxact.plugin.refusals import (
        refuse_checkpoints_as_tests,
        refuse_separate_paths,
        refuse_settings_given_twice,
    )

    refuse_settings_given_twice(config)
    refuse_separate_paths(config)
    refuse_checkpoints_as_tests(config)
    selected = take_own(config)
    if settings.verdict:
        begin_verdict(config, settings.verdict, settings.model or settings.replay)
    begin_reports(config, places_of(settings), settings.model or settings.replay)
    session = _opened(config, settings)
    note_places(config, session)
    selected = known_as(selected, session.plan.ids)
    config.stash[session_key], config.stash[selected_key] = session, selected
    config.pluginmanager.register(Closing(session), "maxact-closing")
    note_opened(config, session)


def _leave_out(config: pytest.Config, settings: "Settings", meeting: Path | None = None) -> None:
    """Keep for later how to open it. `meeting`: where processes of the run share what they measure."""

    def later() -> None:
        session = _opened(config, settings, meeting)
        session.ledger.excuse(session.plan.ids)
        if meeting:
            session.records.meet(meeting)
        config.stash[session_key] = session

    config.stash[later_key] = later


def _opened(config: pytest.Config, settings: "Settings", folder: Path | None = None) -> "GateSession":
    from pytest_maxact.gate.session import open_session
    from pytest_maxact.plugin.project import with_hooks
    from pytest_maxact.plugin.ranks import team_key

    settings = with_hooks(config, settings, lambda: _folder_of(config))
    if (team := config.stash.get(team_key, None)) is not None:
        from pytest_maxact.measure.ranks.share import at_its_place

        settings = at_its_place(settings, team)
    protocol_given = config.getoption("maxact_protocol") is not None
    return open_session(
        settings, protocol_given=protocol_given, cache=_cache_of(config), unwaived=_unwaived(config), team=team
    )


def _unwaived(config: pytest.Config) -> str:
    """A waiver is an expected failure, and pytest can be told to report these as failures."""
    return "--runxfail" if config.getoption("runxfail", False) else ""


def _cache_of(config: pytest.Config) -> "Cache":
    """Where Records of several checkpoints are kept unless the user says where; nowhere where pytest runs without its
    cache.
    """
    from pytest_maxact.gate.records import Cache

    def cache() -> Any:
        """That of pytest, which is not there yet when a run is opened."""
        return getattr(config, "cache", None)

    def place() -> Path | None:
        return cache()._cachedir / "d" / "maxact" if cache() else None  # what `mkdir` makes

    return Cache(place=place, make=lambda: Path(cache().mkdir("maxact")) if cache() else None)


def _folder_of(config: pytest.Config) -> Path:
    """What the processes of this run share, until its end. Raises InputError where there is no room for it."""
    if _folder_key not in config.stash:
        try:
            config.stash[_folder_key] = Path(tempfile.mkdtemp(prefix="pytest-maxact-"))
        except OSError as error:
            from pytest_maxact.gate.meeting import unshared

            raise InputError(unshared(tempfile.tempdir or "the folder of temporary files", error)) from error
    return config.stash[_folder_key]
