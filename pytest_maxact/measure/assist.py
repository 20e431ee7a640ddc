"""A rank that does not lead: it follows the orders of rank 0, runs its share of every pass, and says nothing else.

What goes wrong here is told to rank 0, which fails the measurement with it; the exit code is that of rank 0.
"""

import sys

from pytest_maxact.checkpoint.digest import weights_digest
from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import with_seal, with_weights
from pytest_maxact.checkpoint.placement.placement import require_room
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.ranks.parallel import company_of, sharing
from pytest_maxact.measure.ranks.place import Place
from pytest_maxact.measure.ranks.share import at_its_place, facts_of
from pytest_maxact.measure.ranks.team import END, PLANNED, AbandonedError, Team, open_team, settings_from
from pytest_maxact.measure.resume.opening import bookmarks_of, told_by_rank_0
from pytest_maxact.measure.resume.resumption import Resumption
from pytest_maxact.measure.run import take_part
from pytest_maxact.settings.settings import Settings

_LEADER_DIED = 1


def follow(place: Place) -> int:
    """Take part until rank 0 is done; its exit code. Raises InputError where the others cannot be reached."""
    team = open_team(place)
    prepared: dict[Settings, Prepared] = {}
    kept: Resumption | None = None
    try:
        while True:
            order = team.next_order()
            if kept and not order["goes_on"]:
                kept.complete()
            if order["what"] == END:
                break
            kept = told_by_rank_0(order.get("bookmarks"))
            try:
                settings = at_its_place(settings_from(order["settings"]), team)
                if settings not in prepared:
                    prepared[settings] = prepare(settings, next(iter(prepared.values()), None))
                if order["what"] == "measure":
                    _measure(prepared.pop(settings), settings, team, kept)
            except (AbandonedError, ConnectionError):
                continue
            except Exception as error:
                if order["what"] == "measure":  # else it is asked for again
                    team.fail(error)
        team.let_rank_0_end_first()
        return int(order["code"])
    except ConnectionError as error:
        print(f"maxact: {place} ends: {error}", file=sys.stderr)
        return _LEADER_DIED


def _measure(prepared: Prepared, settings: Settings, team: Team, resumption: Resumption | None) -> None:
    if prepared.placement:
        require_room(prepared.placement)
    checkpoint = with_seal(prepared.checkpoint, with_weights(prepared.checkpoint, settings))
    bookmarks = bookmarks_of(resumption, prepared, settings, checkpoint, None, team.place)
    with sharing(team, prepared):
        team.meet(PLANNED)
        loaded = load(prepared.checkpoint, settings, prepared.placement)
        # the first of another machine reads its files as a whole, as rank 0 does those of its own
        tells = team.place.local == 0 and loaded.files is not None
        weights = weights_digest(loaded.files) if tells and loaded.files else None
        company = company_of(team, prepared, lambda: facts_of(prepared, settings, weights))
        take_part(prepared, settings, loaded, company, bookmarks)
