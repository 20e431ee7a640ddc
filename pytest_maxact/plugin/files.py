"""The files that a pytest run writes about itself: begun where the run is, and written when its outcome is put
together, by the process that the user started and no other.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from pytest_maxact.errors import InputError, MaxactError, marked, one_line
from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    from pytest_maxact.gate.reports import ReportFiles
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.judge.outcome import Outcome

_files_key: "pytest.StashKey[ReportFiles]" = pytest.StashKey()


def begin_reports(config: pytest.Config, places: Mapping[str, str], about: str | None) -> None:
    """Before anything else of the run, so that no file of an earlier one is left where this one fails. Raises
    InputError.
    """
    from pytest_maxact.gate.reports import ReportFiles
    from pytest_maxact.plugin.typed import typed

    if places and _files_key not in config.stash and not typed(config).looks:
        config.stash[_files_key] = ReportFiles(places, about, config.invocation_params.dir)


def tell_refusal(config: pytest.Config, error: InputError) -> None:
    """In those that were begun, why nothing is judged."""
    from pytest_maxact.judge.account import UNFINISHED, Account
    from pytest_maxact.plugin.junit import put

    why = marked(error)
    if _files_key in config.stash:
        config.stash[_files_key].refused(why, pytest_option)
    put(config, Account(faults=(why, UNFINISHED), words=pytest_option))


def note_places(config: pytest.Config, gate: "GateSession") -> None:
    """What the run is about is known now. Raises InputError for a place that lies in it."""
    if _files_key in config.stash:
        config.stash[_files_key].opened(gate)


def note_begun(config: pytest.Config) -> None:
    """No request was refused, and checks begin. Raises InputError."""
    if _files_key in config.stash:
        config.stash[_files_key].begun()


def write_reports(
    config: pytest.Config, gate: "GateSession", outcome: "Outcome | None", troubles: list[str]
) -> "tuple[Outcome | None, list[str]]":
    """Write them. The outcome and the troubles, with what could not be written, which has failed the run."""
    from pytest_maxact.gate.account import account_of
    from pytest_maxact.gate.reports import faulty, repository

    if _files_key not in config.stash:
        return outcome, troubles
    files = config.stash[_files_key]
    try:
        faults = files.write(account_of(gate, outcome, troubles, pytest_option, repository(files.root)))
    except (MaxactError, ValueError, OSError) as error:
        faults = [f"no report was written: {marked(error)}"]
    return (faulty(outcome, faults) if outcome else None), [*troubles, *faults]


def say_written(config: pytest.Config, gate: "GateSession") -> None:
    """What was written, where a run is not a quiet one; the Record in any: it may have taken hours."""
    lines = list(_records(gate))
    if _files_key in config.stash and config.get_verbosity() >= 0:
        lines += config.stash[_files_key].written
    for line in lines:
        print(one_line(f"maxact: {line}"))


def _records(gate: "GateSession") -> Iterator[str]:
    """Where what was measured lies, if all of it that was to be written was."""
    measured = [one for one in gate.plan.subjects if not one.source.is_record and gate.records.known(one.source)]
    if gate.settings.save and measured and not gate.records.unsaved:
        yield f"{'Records' if gate.plan.is_series else 'Record'} written to {gate.settings.save}"
