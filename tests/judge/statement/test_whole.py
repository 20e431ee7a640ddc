"""A whole PASS is computed from the checks of a statement, whatever it says of itself; and a statement is read only as
it was written.
"""

from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.statement.schema import (
    VERIFIER,
    Artifact,
    CheckMade,
    Details,
    Digest,
    Reference,
    Statement,
    Subject,
    Summary,
    Verifier,
)
from pytest_maxact.judge.statement.seal import is_statement, read, rendered
from pytest_maxact.judge.statement.whole import contradictions, shortfalls

SHA = "ab" * 32
CHECK = CheckMade(
    check="maxact::a::max_abs", outcome="held", site="a", metric="max_abs", value=1.0, limit=2.0, sense="max"
)
ARTIFACT = Artifact(
    name="", title="m", files={"model.safetensors": SHA}, record=SHA, tokens=9, samples=1, checks=(CHECK,)
)  # fmt: skip
WHOLE = Details(
    verdict="PASS",
    finished=True,
    checkpoints=(ARTIFACT,),
    limits=(Reference(uri="limits.yaml", digest=Digest(sha256=SHA)),),
)


def statement(details: Details = WHOLE, passed: bool = True) -> Statement:
    return Statement(
        subject=(Subject(name="model.safetensors", digest=Digest(sha256=SHA)),),
        predicate=Summary(
            verifier=Verifier(id=VERIFIER, version={}),
            time_verified="2026-01-01T00:00:00Z",
            resource_uri="m",
            verification_result="PASSED" if passed else "FAILED",
            verified_levels=(),
            details=details,
        ),
    )


def with_checks(*checks: CheckMade) -> Details:
    return WHOLE.model_copy(update={"checkpoints": (ARTIFACT.model_copy(update={"checks": checks}),)})


def check(**changed: Any) -> CheckMade:
    return CheckMade(**{**CHECK.model_dump(), **changed})


def test_a_whole_pass_lacks_nothing() -> None:
    assert shortfalls(WHOLE) == []
    assert contradictions(statement()) == []


@pytest.mark.parametrize(
    ("details", "words"),
    [
        (WHOLE.model_copy(update={"finished": False}), "the run did not finish"),
        (WHOLE.model_copy(update={"reasons": ("could not measure",)}), "could not measure"),
        (WHOLE.model_copy(update={"checkpoints": ()}), "it is about no checkpoint"),
        (WHOLE.model_copy(update={"limits": ()}), "it names no limits"),
        (with_checks(), "no check was made"),
        (with_checks(CHECK, CHECK), "stands there more than once"),
        (with_checks(CHECK, check(check="b", outcome="not run")), "1 check: not run, the first b"),
        (with_checks(CHECK, check(check="b", outcome="deselected")), "1 check: deselected"),
        (with_checks(check(outcome="does not hold", value=3.0)), "1 check: does not hold"),
        (with_checks(check(outcome="could not be judged", value=None)), "1 check: could not be judged"),
        (with_checks(check(value=3.0)), "is said to hold, and its value 3.0 is not within 2.0"),
        (with_checks(check(value="nan")), "is said to hold"),
        (with_checks(check(value=None)), "is said to hold"),
        (with_checks(check(value=1.0, sense="min")), "is said to hold"),
        (with_checks(check(outcome="waived", value=3.0)), "checks are waived by no waiver"),
    ],
)
def test_what_a_statement_lacks_is_said_whatever_its_verdict(details: Details, words: str) -> None:
    assert any(words in reason for reason in shortfalls(details))
    assert "its verdict is not that of its checks" in contradictions(statement(details))


def test_infinity_is_a_number_and_holds_where_more_is_better() -> None:
    assert shortfalls(with_checks(check(value="inf", sense="min"))) == []
    assert shortfalls(with_checks(check(value="inf")))


def test_a_failing_verdict_over_passing_checks_contradicts_itself() -> None:
    assert contradictions(statement(passed=False))
    assert contradictions(statement(WHOLE.model_copy(update={"verdict": "FAIL"})))


def test_a_statement_about_other_files_than_those_it_names_contradicts_itself() -> None:
    other = WHOLE.model_copy(update={"checkpoints": (ARTIFACT.model_copy(update={"files": {"config.json": SHA}}),)})
    assert "the artifacts that it names are not those whose checks it holds" in contradictions(statement(other))


def test_what_is_written_is_read_and_the_same_gives_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    path.write_text(rendered(statement()))
    assert rendered(read(path)) == path.read_text() == rendered(statement())
    assert is_statement(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 5000, b"\xff", b'{"predicate": 1}', b"null"])
def test_what_is_no_statement_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a verdict of pytest-maxact"):
        read(path)
    assert not is_statement(path)


def test_a_change_inside_the_noise_holds_beyond_its_limit_and_nothing_else_does() -> None:
    beyond = {"value": 3.0, "inside_noise": True}
    assert not shortfalls(with_checks(check(baseline="v1", **beyond)))
    assert shortfalls(with_checks(check(**beyond)))
    assert shortfalls(with_checks(check(baseline="v1", **(beyond | {"value": "nan"}))))
    assert shortfalls(with_checks(check(baseline="v1", value=3.0)))


def test_what_is_not_said_of_a_check_leaves_no_trace_in_the_file(tmp_path: Path) -> None:
    """Verdicts of versions that did not know it are read as they were written."""
    plain = rendered(statement())
    assert not any(name in plain for name in ("too_close", "inside_noise", '"low"', '"high"'))
    close = check(too_close=True, low=0.0, high=2.5)
    path = tmp_path / "verdict.json"
    path.write_text(rendered(statement(with_checks(close))))
    assert read(path).predicate.details.checkpoints[0].checks == (close,)
