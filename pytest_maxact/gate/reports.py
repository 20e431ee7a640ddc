"""The files that a run writes about itself: one row for each, what the user asks for it with, what kind of file it is,
and what makes it of the account of the run. Every door writes them through here, after all is judged.

Guards that each has a place before anything is measured, that none is left from an earlier run where this one does not
come to its end, and that one which cannot be written fails the run, says so, and costs none of the others.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.errors import InputError, MaxactError, Words, first_line, marked
from pytest_maxact.judge.account import UNFINISHED, Account
from pytest_maxact.judge.outcome import Outcome
from pytest_maxact.record.output import Kind, output_beside, require_place, unwritten
from pytest_maxact.record.whole import Written
from pytest_maxact.report.libraries import CARD, PAGE, require_libraries
from pytest_maxact.settings.places import expanded

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One kind of file. `setting`: the field of Settings that says where it goes; `called`: what the user is told was
    written. `made`: an account, and the place of the file, for what updates one that is there, in; its bytes out. It
    takes every account, also one without an outcome. `waits`: whether it stands there, as that of a run that did not
    finish, only when checks begin, for it is a file of the user's, and not from the beginning on; `needs`: libraries
    without which it cannot be made.
    """

    setting: str
    called: str
    kind: Kind
    made: Callable[[Account, Path], bytes]
    waits: bool = False
    needs: tuple[str, ...] = ()


def _json(account: Account, place: Path) -> bytes:
    from pytest_maxact.report.data.run.text import run_json

    return run_json(account).encode()


def _is_json(path: Path) -> bool:
    from pytest_maxact.report.data.run.text import is_run_report

    return is_run_report(path)


def _html(account: Account, place: Path) -> bytes:
    from pytest_maxact.report.figures.every import figures_of
    from pytest_maxact.report.html.page import render_page

    latest = account.outcome.measured[-1:] if account.outcome else ()
    figures = [figure for one in latest if one.drawn for figure in figures_of(one.drawn)]
    return render_page(account, figures).encode("utf-8", "backslashreplace")


def _is_html(path: Path) -> bool:
    from pytest_maxact.report.html.page import is_page

    return is_page(path)


def _sarif(account: Account, place: Path) -> bytes:
    from pytest_maxact.report.sarif.document import sarif_json

    return sarif_json(account).encode()


def _is_sarif(path: Path) -> bool:
    from pytest_maxact.report.sarif.document import is_sarif

    return is_sarif(path)


def _issues(account: Account, place: Path) -> bytes:
    from pytest_maxact.report.codequality.issues import issues_json

    return issues_json(account).encode()


def _is_issues(path: Path) -> bool:
    from pytest_maxact.report.codequality.issues import is_issues

    return is_issues(path)


def _card(account: Account, place: Path) -> bytes:
    from pytest_maxact.report.card.content import card

    return card(account, place)


def _is_card(path: Path) -> bool:
    from pytest_maxact.report.card.card import is_card

    return is_card(path)


def _bom(account: Account, place: Path) -> bytes:
    from pytest_maxact.report.card.bom import bom

    return bom(account, place)


def _is_bom(path: Path) -> bool:
    from pytest_maxact.report.card.bom import is_bom

    return is_bom(path)


def _junit(account: Account, place: Path) -> bytes:
    from pytest_maxact.report.junit.document import junit_xml

    return junit_xml(account)


def _is_junit(path: Path) -> bool:
    from pytest_maxact.report.junit.document import is_junit

    return is_junit(path)


REPORTS = (
    Report(
        setting="json_report",
        called="JSON report",
        kind=Kind(called="the JSON report", is_one=_is_json),
        made=_json,
    ),
    Report(
        setting="html",
        called="page",
        kind=Kind(called="the page", is_one=_is_html),
        made=_html,
        needs=PAGE,
    ),
    Report(setting="sarif", called="SARIF", kind=Kind(called="the SARIF file", is_one=_is_sarif), made=_sarif),
    Report(
        setting="codequality",
        called="code quality",
        kind=Kind(called="the code quality report", is_one=_is_issues),
        made=_issues,
    ),
    Report(
        setting="card",
        called="model card",
        kind=Kind(called="the model card", is_one=_is_card, beside_weights="README.md"),
        made=_card,
        needs=CARD,
        waits=True,
    ),
    Report(
        setting="bom",
        called="bill of materials",
        kind=Kind(called="the bill of materials", is_one=_is_bom),
        made=_bom,
    ),
)
"""A new one: a row here, and an option of that name."""
JUNIT = Report(setting="junit", called="JUnit file", kind=Kind(called="the JUnit file", is_one=_is_junit), made=_junit)
"""Of doors without pytest, which writes such a file itself."""


def places_of(settings: object) -> dict[str, str]:
    """Where the files go that were asked for, by setting."""
    return {one.setting: place for one in (*REPORTS, JUNIT) if (place := getattr(settings, one.setting, None))}


def repository(folder: Path) -> Path:
    """The top of the repository that a folder lies in, which paths in reports start from; itself where it lies in
    none.
    """
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)


def require_apart(places: Mapping[str, str], folder: Path) -> None:
    """Raise InputError where two outputs of a run, by what asks for them, would be one file."""
    taken = dict[str, str]()
    for asked, place in places.items():
        there = os.path.realpath(folder / expanded(place))
        if there in taken:
            raise InputError(f"{taken[there]} and {asked} both write to {place}\n  give each a file of its own")
        taken[there] = asked


class ReportFiles:
    """The files of one run. Raises InputError where one cannot be written, or would destroy something.

    `about`: the checkpoint that was asked for, which nothing is written into; `own`: the folder of a training run,
    whose files these are, into which they may go.
    """

    def __init__(self, places: Mapping[str, str], about: str | None, root: Path, own: Path | None = None) -> None:
        asked = [one for one in (*REPORTS, JUNIT) if one.setting in places]
        self._rows = [(one, root / expanded(places[one.setting])) for one in asked]
        self._apart = [Path(about)] if about and own is None else []
        self._own = own
        self.root = root
        self.written: tuple[str, ...] = ()
        """What was, a line for each."""
        for row, _ in self._rows:
            require_libraries(f"{row.kind.called} takes", row.needs)
        self._waiting = {row.setting for row, _ in self._rows if row.waits}
        self._unfinished = Account(root=repository(root), about=about or "")
        for row, place in self._rows:
            require_place(place, row.kind, self._apart, self._own)
            faults = {} if row.waits else self._put([(row, place)], self._unfinished)
            if row.waits:
                with _noted(row, place, faults):
                    row.made(self._unfinished, place)
            if faults:
                raise InputError(faults[row.setting])

    def opened(self, session: "GateSession") -> None:
        """Note what the run is about: nothing is written into its checkpoints."""
        sources = [subject.source for subject in session.plan.subjects] + list(session.plan.baselines)
        self._apart = [Path(source.path) for source in sources if not source.is_record]
        for row, place in self._rows:
            require_place(place, row.kind, self._apart, self._own)

    def begun(self) -> None:
        """Checks begin now: from here on no file tells of an earlier run. Raises InputError."""
        for row, place in self._rows:
            if row.setting in self._waiting and (faults := self._put([(row, place)], self._unfinished)):
                raise InputError(faults[row.setting])
        self._waiting = set()

    def refused(self, why: str, words: Words) -> None:
        """Nothing was judged: the files say why."""
        self.write(replace(self._unfinished, faults=(why, UNFINISHED), words=words))

    def write(self, account: Account) -> list[str]:
        """Write all that can be; why others were not, a text for each. What is written tells of those too. What waits
        for checks that never began stays as it was.
        """
        rows = [(row, place) for row, place in self._rows if row.setting not in self._waiting]
        faults, told = dict[str, str](), account
        while more := self._put([one for one in rows if one[0].setting not in faults], told):
            faults |= more
            told = with_faults(account, faults.values())
        self.written = tuple(f"{row.called} written to {place}" for row, place in rows if row.setting not in faults)
        return list(faults.values())

    def _put(self, rows: Iterable[tuple[Report, Path]], account: Account) -> dict[str, str]:
        """Put all of them in place, or, where one cannot be written, none: the others would know nothing of that, and
        there may be no room to say so. Why not, by setting.
        """
        beside, faults = list[tuple[Report, Written]](), dict[str, str]()
        try:
            for row, place in rows:
                with _noted(row, place, faults):
                    content = row.made(account, place)
                    beside.append((row, output_beside(place, content, row.kind, self._apart, self._own)))
            for row, written in beside:
                if not faults:
                    with _noted(row, written.target, faults):
                        written.put()
        finally:
            for _, written in beside:
                written.drop()
        return faults


@contextmanager
def _noted(row: Report, place: Path, faults: dict[str, str]) -> Iterator[None]:
    """Why a file cannot be made or written, put among the faults."""
    try:
        yield
    except OSError as error:
        faults[row.setting] = f"{row.kind.called} was not written to {place}: {unwritten(error)}"
    except MaxactError as error:
        faults[row.setting] = marked(error)
    except Exception as error:
        why = f"{type(error).__name__}: {first_line(error)}"
        faults[row.setting] = f"{row.kind.called} was not written to {place}: {why}"


def with_faults(account: Account, faults: Iterable[str]) -> Account:
    """The account of a run of which some report could not be written."""
    more = tuple(faults)
    outcome = faulty(account.outcome, more) if account.outcome else None
    return replace(account, verdict="FAIL", faults=(*account.faults, *more), outcome=outcome)


def faulty(outcome: Outcome, faults: Iterable[str]) -> Outcome:
    """The outcome with what went wrong since."""
    more = tuple(faults)
    verdict = outcome.verdict
    told = replace(verdict, faults=(*verdict.faults, *more)) if verdict else None
    return replace(outcome, faults=(*outcome.faults, *more), verdict=told)
