"""Waivers, from the `waive:` list of a limits file: checks that somebody answers for until a day, and that are known to
fail until then.

A waiver whose day has passed lets nothing pass any more and fails itself; one that no failing check needs is stale and
fails too. Non-finite entries are never waived: a broken checkpoint is not one that is a little too large. But a tensor
of the weight files is, where a waiver names it: somebody answers for a part that is not used.

Guard: a waiver holds for a year at most, unless its file says `max_waiver_days`, and speaks about all sites only where
it says `everything: true`. Both are told before the verdict (`Waiver.remark`).
"""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import LimitsFile
from pytest_maxact.judge.limits.limit import WILDCARD, Limit
from pytest_maxact.judge.limits.weights import WEIGHTS, is_of_weights
from pytest_maxact.numbers.sites import ATTENTION_KINDS, LAYER_KINDS, LINEAR_KINDS
from pytest_maxact.record.metrics.metric import NONFINITE

LONGEST_DAYS = 365
"""How far from today a waiver may end where its file does not say."""
_LAYERS = (0, 1, 2, 13, 64, 107)
_EVERY_LAYER_SITE = tuple(
    f"layers.{layer}.{kind}" for layer in _LAYERS for kind in (*LAYER_KINDS, *LINEAR_KINDS, *ATTENTION_KINDS)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One entry. `until` is the last day on which it holds, in UTC; `site`, `metric` and `checkpoint` are patterns;
    `up_to` is the worst value that it lets pass, None for any; `everything`: it may speak about all sites; `is_long`:
    it ends later than a waiver may where no file says otherwise.
    """

    site: str
    metric: str
    checkpoint: str
    reason: str
    owner: str
    until: date
    file: str
    line: int
    up_to: float | None = None
    everything: bool = False
    is_long: bool = False

    def covers(self, limit: Limit, checkpoint: str) -> bool:
        """Whether it speaks about this check of this checkpoint, expired or not."""
        pairs = ((checkpoint, self.checkpoint), (limit.site, self.site), (limit.metric.name, self.metric))
        if not all(name == pattern or fnmatch.fnmatchcase(name, pattern) for name, pattern in pairs):
            return False
        return self.names_tensors if is_of_weights(limit.site) else limit.metric != NONFINITE

    def speaks_of(self, checkpoint: str) -> bool:
        """Whether it speaks about any check of this checkpoint."""
        return fnmatch.fnmatchcase(checkpoint, self.checkpoint)

    @property
    def names_tensors(self) -> bool:
        """Whether it speaks about tensors of weight files, by name: `weights.lm_head.weight`, `weights.vision.*`."""
        prefix, _, name = self.site.partition(".")
        return prefix == WEIGHTS and bool(WILDCARD.sub("", name).strip("."))

    @property
    def covers_everything(self) -> bool:
        """Whether its pattern is that of every site of every layer."""
        return all(fnmatch.fnmatchcase(site, self.site) for site in _EVERY_LAYER_SITE)

    @property
    def remark(self) -> str:
        """What a report says of it before all else; empty for one of an ordinary length and reach."""
        what = f"every site ({self.site}, {self.metric})" if self.everything or self.covers_everything else ""
        if not (what or self.is_long):
            return ""
        return f"{self.owner} waives {what or f'{self.site}, {self.metric}'} until {self.until}: {self.reason}"

    @property
    def words(self) -> str:
        """What a report says of a check that it lets pass."""
        return f"waived until {self.until} by {self.owner}: {self.reason}"


def waivers_of(files: Sequence[LimitsFile], family: str, today: date | None = None) -> tuple[Waiver, ...]:
    """The entries that speak about a family, in the order of the files. Raises InputError for one that ends later than
    its file lets it, and for one that speaks about all sites without saying that it is meant to.
    """
    last = (today or datetime.now(timezone.utc).date()) + timedelta(days=LONGEST_DAYS)
    found = tuple(
        Waiver(
            site=entry.site,
            metric=entry.metric,
            checkpoint=entry.checkpoint,
            reason=" ".join(entry.reason.split()),
            owner=" ".join(entry.owner.split()),
            until=entry.until,
            file=str(file.path),
            line=file.line("waive", index),
            up_to=entry.up_to,
            everything=entry.everything,
            is_long=entry.until > last,
        )
        for file in files
        for index, entry in enumerate(file.document.waive)
        if entry.family in (None, family)
    )
    longest = {str(file.path): file.document.max_waiver_days for file in files}
    for waiver in found:
        _require_term(waiver, longest[waiver.file], last)
        if waiver.covers_everything and not waiver.everything:
            raise _too_wide(waiver, "speaks about every site")
    return found


def _require_term(waiver: Waiver, stated: int | None, last: date) -> None:
    days = stated or LONGEST_DAYS
    last += timedelta(days=days - LONGEST_DAYS)
    if waiver.until > last:
        raise InputError(
            f"{waiver.file}:{waiver.line}: a waiver until {waiver.until}, where {days} days from today, until {last}, "
            "is the longest\n"
            f"  bring its day forward and renew it then, or say `max_waiver_days:` beside `version: 1`"
        )


def _too_wide(waiver: Waiver, what: str) -> InputError:
    return InputError(
        f"{waiver.file}:{waiver.line}: this waiver ({waiver.site}, {waiver.metric}) {what}\n"
        "  name the sites that are known to fail, or say `everything: true` where it is meant"
    )


def about(waivers: Iterable[Waiver], checkpoints: Sequence[str]) -> tuple[Waiver, ...]:
    """Those that speak about any of these checkpoints: a file may hold waivers for others."""
    return tuple(waiver for waiver in waivers if any(waiver.speaks_of(name) for name in checkpoints))


def refuse_unmatched(waivers: Iterable[Waiver], checks: Iterable[tuple[str, Limit]]) -> None:
    """Raise InputError for a waiver that speaks about none of the checks, pairs of a checkpoint's name and a limit, and
    for a pattern that speaks about all that can be waived without saying that it is meant to.
    """
    known = list(checks)
    for waiver in waivers:
        if waiver.names_tensors:  # which of them fail the scan will tell
            continue
        own = [(checkpoint, limit) for checkpoint, limit in known if fnmatch.fnmatchcase(checkpoint, waiver.checkpoint)]
        covered = [limit.site for checkpoint, limit in own if waiver.covers(limit, checkpoint)]
        if not covered:
            raise InputError(
                f"{waiver.file}:{waiver.line}: this waiver ({waiver.site}, {waiver.metric}) matches no check of this "
                "run\n"
                "  correct its patterns, say `family:` where it is meant for another one, or remove it; `nonfinite` "
                "cannot be waived but for a tensor by name, as in `site: weights.lm_head.weight`"
            )
        others = sum(_can_be_waived(limit) for _, limit in own) - len(covered)
        if not others and len(set(covered)) > 1 and not waiver.everything:
            raise _too_wide(waiver, f"lets pass all {len(covered)} checks of this run that can be waived")


def waiver_remarks(waivers: Iterable[Waiver], checks: Iterable[tuple[str, Limit]]) -> list[str]:
    """What stands before the verdict: waivers that hold for long or reach far, and several that leave nothing between
    them.
    """
    given = list(waivers)
    found = [waiver.remark for waiver in given if waiver.remark]
    known = [(checkpoint, limit) for checkpoint, limit in checks if _can_be_waived(limit)]
    if known and all(any(one.covers(limit, checkpoint) for one in given) for checkpoint, limit in known):
        which = f"all {len(known)} checks" if len(known) > 1 else "the one check"
        found.append(f"waivers speak about {which} that can be waived, so that nothing else is held")
    return found


def _can_be_waived(limit: Limit) -> bool:
    """Whether a waiver of sites can speak about it; of weights only one that names a tensor does."""
    return limit.metric != NONFINITE and not is_of_weights(limit.site)
