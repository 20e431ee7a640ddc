"""What a statement lacks to be a whole PASS, computed from its checks; its own word for the verdict is believed
nowhere.
"""

import math
from collections import Counter
from collections.abc import Iterator

from pytest_maxact.judge.statement.schema import Artifact, CheckMade, Details, Statement
from pytest_maxact.judge.verdict.bound import within
from pytest_maxact.numbers.counted import counted

_PASSING = ("held", "waived")


def shortfalls(details: Details) -> list[str]:
    """Why it is no whole PASS, a line for each reason; empty for one."""
    return list(_shortfalls(details))


def contradictions(statement: Statement) -> list[str]:
    """Where a statement does not agree with itself."""
    details, found = statement.predicate.details, []
    if sorted((one.name, one.digest.sha256) for one in statement.subject) != sorted(subjects(details)):
        found.append("the artifacts that it names are not those whose checks it holds")
    passed = not shortfalls(details)
    said = (details.verdict == "PASS", statement.predicate.verification_result == "PASSED")
    if said != (passed, passed):
        found.append("its verdict is not that of its checks")
    return found


def subjects(details: Details) -> list[tuple[str, str]]:
    """Every file of every checkpoint, and its digest."""
    return [
        (f"{artifact.name}/{name}" if artifact.name else name, digest)
        for artifact in details.checkpoints
        for name, digest in artifact.files.items()
    ]


def _shortfalls(details: Details) -> Iterator[str]:
    if not details.finished:
        yield "the run did not finish"
    yield from details.reasons
    if not details.checkpoints:
        yield "it is about no checkpoint"
    if not details.limits:
        yield "it names no limits"
    for artifact in details.checkpoints:
        whose = f" of {artifact.name}" if artifact.name else ""
        if artifact.record is None or not artifact.tokens or not artifact.samples:
            yield f"there is no Record{whose}"
        elif not artifact.files:
            yield f"the Record{whose} does not say which files it was measured from: measure it again"
        yield from (f"{reason}{whose}" for reason in _of_checks(artifact))
    failing = [waiver for waiver in details.waivers if waiver.outcome != "held"]
    if failing:
        yield f"{counted(len(failing), 'waiver')}: {failing[0].outcome}, the first {failing[0].check}"
    if not details.waivers and any(check.outcome == "waived" for one in details.checkpoints for check in one.checks):
        yield "checks are waived by no waiver"


def _of_checks(artifact: Artifact) -> Iterator[str]:
    if not artifact.checks:
        yield "no check was made"
    if repeated := [name for name, count in Counter(check.check for check in artifact.checks).items() if count > 1]:
        yield f"{repeated[0]} stands there more than once"
    for outcome, count in Counter(check.outcome for check in artifact.checks).items():
        if outcome not in _PASSING:
            first = next(check for check in artifact.checks if check.outcome == outcome)
            yield f"{counted(count, 'check')}: {outcome}, the first {first.check}"
    if wrong := next((check for check in artifact.checks if check.outcome == "held" and not _holds(check)), None):
        yield f"{wrong.check} is said to hold, and its value {wrong.value} is not within {wrong.limit}"


def _holds(check: CheckMade) -> bool:
    if check.inside_noise and check.baseline and check.value is not None and math.isfinite(float(check.value)):
        return True
    return (
        check.value is not None
        and check.limit is not None
        and within(float(check.value), float(check.limit), check.sense)
    )
