"""A verdict held against an artifact: a statement and a folder in, why a release may not rest on it out. No torch.

What is demanded of a statement besides is asked of what it says itself; that it was not edited, `read` has seen to.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pytest_maxact.checkpoint.artifact import artifact_digests
from pytest_maxact.judge.statement.schema import Artifact, Statement
from pytest_maxact.judge.statement.whole import contradictions, shortfalls
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.file import content_digest, load
from pytest_maxact.settings.userfiles import content_of

_AHEAD = timedelta(minutes=10)
"""How far clocks may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a release asks for besides a whole PASS of its artifact."""

    waivers: bool = True
    limits: Sequence[str] = ()
    baselines: Sequence[str] = ()
    max_age: int | None = None
    min_tokens: int | None = None


def objections(statement: Statement, folder: Path, demands: Demands, now: datetime | None = None) -> list[str]:
    """Why a release of this folder may not rest on a statement; empty where it may. Raises InputError for a folder or
    a file that cannot be read.
    """
    details = statement.predicate.details
    found = [*shortfalls(details), *contradictions(statement)]
    return [
        *found,
        *_of_artifact(statement, folder),
        *_of_demands(statement, demands, now or datetime.now(timezone.utc)),
    ]


def artifact_of(statement: Statement, digests: dict[str, str]) -> Artifact | None:
    """The checkpoint of a statement that has these very files."""
    return next((one for one in statement.predicate.details.checkpoints if one.files == digests), None)


def _of_artifact(statement: Statement, folder: Path) -> Iterator[str]:
    checkpoints = statement.predicate.details.checkpoints
    # files below the folder, which are loaded where a config says so, are known by their names alone
    deep = {folder / name for one in checkpoints for name in one.files if (folder / name).is_file()}
    digests = artifact_digests(folder, deep)
    if artifact_of(statement, digests) or not checkpoints:
        return
    nearest = min(checkpoints, key=lambda one: len(one.files.items() ^ digests.items()))
    differing = sorted(name for name in nearest.files.keys() & digests.keys() if nearest.files[name] != digests[name])
    gone, new = sorted(nearest.files.keys() - digests.keys()), sorted(digests.keys() - nearest.files.keys())
    for names, what, one in (
        (differing, "differ from what was judged", "differs from what was judged"),
        (gone, "are missing", "is missing"),
        (new, "were not judged", "was not judged"),
    ):
        if names:
            which = f"{counted(len(names), 'file')} of {folder} {what if len(names) > 1 else one}"
            yield f"it is about another artifact: {which}, the first {names[0]}"


def _of_demands(statement: Statement, demands: Demands, now: datetime) -> Iterator[str]:
    details = statement.predicate.details
    waived = [check.check for one in details.checkpoints for check in one.checks if check.outcome == "waived"]
    if waived and not demands.waivers:
        yield f"{counted(len(waived), 'check', 'is', 'are')} waived, the first {waived[0]}"
    for file in demands.limits:
        if hashlib.sha256(content_of(Path(file))).hexdigest() not in {one.digest.sha256 for one in details.limits}:
            yield f"it was not judged by {file} as it is now, but by {', '.join(one.uri for one in details.limits)}"
    for file in demands.baselines:
        if content_digest(load(file)) not in {one.digest.sha256 for one in details.baselines}:
            yield f"it was not compared with {file}"
    if (
        demands.min_tokens is not None
        and (least := min((one.tokens for one in details.checkpoints), default=0)) < demands.min_tokens
    ):
        yield f"it rests on {least} tokens, and {demands.min_tokens} are demanded"
    yield from _of_age(statement, demands.max_age, now)


def _of_age(statement: Statement, most: int | None, now: datetime) -> Iterator[str]:
    try:
        then = datetime.fromisoformat(statement.predicate.time_verified.replace("Z", "+00:00"))
        age = now - then
    except (ValueError, TypeError):
        yield "it does not say when it was made"
        return
    if age < -_AHEAD:
        yield f"it was made at {statement.predicate.time_verified}, which is not yet"
    if most is not None and not age <= timedelta(days=most):
        yield f"it is {age.days} days old, and at most {most} are allowed"
    today = now.date().isoformat()
    if expired := [one for one in statement.predicate.details.waivers if not one.until >= today]:
        yield f"the waiver for {expired[0].site} by {expired[0].owner} has expired on {expired[0].until}"
