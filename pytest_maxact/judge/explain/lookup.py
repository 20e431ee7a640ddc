"""What was asked for in, what explains it out: the name of a site, a metric, a quantity or a scheme, a site of a layer,
or the id of a check as a run prints it. Guard: a name that nobody knows is refused, with what was probably meant.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from pytest_maxact.errors import InputError
from pytest_maxact.judge.explain.entry import EXPECTED, NEVER_WAIVED, NEW_FAMILY, WAIVE, Entry
from pytest_maxact.judge.explain.metrics import METRICS
from pytest_maxact.judge.explain.quantities import QUANTITIES
from pytest_maxact.judge.explain.schemes import schemes
from pytest_maxact.judge.explain.sites import SITES, WAIVER
from pytest_maxact.judge.limits.weights import tensor_of
from pytest_maxact.numbers.schemes import ALIASES
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.settings.spelling import nearest

_OF_A_LAYER = re.compile(r"layers\.([^.]+)\.(\w+)")
_SHOWN_AS = {
    "M": "carrier", "INT-8": "int8.max_abs.sqnr_db", "KL": "mean_kl", "top-1": "top1_agreement",
    "zeroed": "flush_to_zero", "massive": "new_massive_layers", "jump": "jump_shift",
}  # fmt: skip
"""What reports call some of them in their columns."""
_AGAINST = re.compile(r"\[[^\]]*\]$")


def every() -> Iterator[Entry]:
    """All that can be explained, group by group."""
    yield from SITES.values()
    yield from METRICS.values()
    yield from QUANTITIES.values()
    yield from schemes().values()


def explain(asked: str) -> list[Entry]:
    """What explains it: of a check its site and its metric, with a quantity and a scheme where its name has them.
    Raises InputError for what nobody knows.
    """
    parts = [part for part in asked.strip().removeprefix("FAILED ").split(" - ")[0].split("::") if part] or [asked]
    if len(parts) == 1:
        return _named(_SHOWN_AS.get(parts[0], parts[0]))
    *_, site, last = parts
    if site == WAIVER:
        return [SITES[WAIVER]]
    if (of_site := _site(last)) and not _site(site):
        return [of_site]
    if not (found := _site(site)):
        raise _unknown(site, asked)
    metric = _AGAINST.sub("", last)
    return _together([found, *_metric(metric, asked, at=found.name)], site, metric)


def _named(name: str) -> list[Entry]:
    if site := _site(name):
        return [site]
    scheme = ALIASES.get(name.upper(), name.upper())
    if scheme in schemes():
        return [schemes()[scheme]]
    if name in QUANTITIES:
        return [QUANTITIES[name]]
    return _metric(_AGAINST.sub("", name), name)


def _site(name: str) -> Entry | None:
    if tensor_of(name) is not None:
        return SITES["weights"]
    found = _OF_A_LAYER.fullmatch(name)
    return SITES.get(found[2] if found else name)


def _metric(name: str, asked: str, at: str = "") -> list[Entry]:
    """The kind of a metric, its scheme and its quantity; by its form too, as it is listed."""
    for entry in METRICS.values():
        if entry.name == name:
            return [entry]
    metric = None
    with suppress(InputError):
        metric = Metric.parse(name)
    if metric is None:
        raise _unknown(name, asked, at)
    parts = [METRICS[metric.kind]]
    inner = metric.of or metric
    if inner.scheme:
        parts.append(schemes()[inner.scheme])
    if inner.quantity in QUANTITIES:
        parts.append(QUANTITIES[inner.quantity])
    return parts


def _together(entries: Sequence[Entry], site: str, metric: str) -> list[Entry]:
    """Of one check: each answer to a breach once, with the waiver of this very check, and none that is not possible."""
    given = dict.fromkeys(answer for entry in entries for answer in entry.todo)
    if tensor_of(site) is not None:
        refused = {NEVER_WAIVED}
    else:
        refused = {WAIVE, EXPECTED, NEW_FAMILY} if NEVER_WAIVED in given else set()
    found = list[Entry]()
    for entry in entries:
        todo = [answer for answer in entry.todo if answer in given and answer not in refused]
        for answer in todo:
            del given[answer]
        own = WAIVE[1].replace("SITE", site).replace("METRIC", metric)
        found.append(replace(entry, todo=tuple((cause, own if (cause, do) == WAIVE else do) for cause, do in todo)))
    return found


def _unknown(name: str, asked: str, at: str = "") -> InputError:
    close = _close(name)
    whole = f" in {asked}" if asked != name else ""
    meant = f"did you mean {close}? " if close else ""
    return InputError(
        f"no site, metric or scheme called {name!r}{whole}{f', at {at}' if at else ''}\n"
        f"  {meant}`maxact explain` lists all that there are"
    )


def _close(name: str) -> str:
    """What was meant: the same with its last part put right, as in `layers.3.hiden` and `W8A8.sqnr`, else a name that
    is like it as a whole.
    """
    known = [*(entry.name for entry in every()), *ALIASES]
    before, dot, last = name.rpartition(".")
    if dot:
        one = f"{before}.{nearest(last, [name.rpartition('.')[2] for name in known])}"
        with suppress(InputError):
            if one != name and (_site(one) or Metric.parse(one)):
                return one
    return nearest(name, known)
