"""The form of a verdict that leaves the run: an in-toto Statement v1 with a SLSA verification summary, and beside its
own fields ours, under a key in our name. Plain data; what is read is held to it.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.1/verification_summary
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pytest_maxact.judge.verdict.tally import Verdict

DETAILS = "https://github.com/pytest-maxact/pytest-maxact/verdict/v1"
VERIFIER = "https://github.com/pytest-maxact/pytest-maxact"
WHOLE = "MAXACT_EVERY_CHECK"
"""The level of an artifact of which every check was run, and holds or is waived."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Figure = float | Literal["inf", "-inf", "nan"] | None
"""A number; what is no finite one is a word, for JSON has none; None where there is none."""

CheckOutcome = Literal["held", "waived", "does not hold", "could not be judged", "deselected", "not run"]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, strict=True, allow_inf_nan=False)


class Digest(_Form):
    sha256: Sha256


class Subject(_Form):
    """A file of an artifact, in a series behind the name of its checkpoint."""

    name: str
    digest: Digest


class Reference(_Form):
    uri: str
    digest: Digest


class Verifier(_Form):
    id: str
    version: dict[str, str]


class CheckMade(_Form):
    """One check by its id, and what was found: by the gate, not by what pytest was told."""

    check: str
    outcome: CheckOutcome
    site: str
    metric: str
    value: Figure = None
    limit: Figure
    sense: Literal["min", "max"]
    baseline: str = ""
    message: str = ""
    too_close: bool = False
    """Whether the interval of its figure, from `low` to `high`, or how far measuring again moves it, reaches over the
    limit.
    """
    inside_noise: bool = False
    """Whether it holds because the change is no more than the measurement itself gives."""
    low: Figure = None
    high: Figure = None


class WaiverInForce(_Form):
    check: str
    outcome: CheckOutcome
    site: str
    metric: str
    checkpoint: str
    reason: str
    owner: str
    until: str
    up_to: Figure
    written: str


class Artifact(_Form):
    """One checkpoint: its files by their names in its folder, and the Record that stands for it. `files` is empty where
    the Record does not say what it was measured from.
    """

    name: str
    title: str
    files: dict[str, Sha256]
    record: Sha256 | None = None
    revision: str | None = None
    corpus: Sha256 | None = None
    tokens: int = 0
    samples: int = 0
    family: str = ""
    measured_with: dict[str, str] = {}
    checks: tuple[CheckMade, ...] = ()


class Details(_Form):
    """Ours. `verdict`: the word of the run, FAIL where all of it holds and the statement lacks something to be a whole
    PASS. `sha256`: of the whole statement, in canonical form, with this empty.
    """

    verdict: Verdict
    finished: bool
    reasons: tuple[str, ...] = ()
    checkpoints: tuple[Artifact, ...] = ()
    waivers: tuple[WaiverInForce, ...] = ()
    limits: tuple[Reference, ...] = ()
    baselines: tuple[Reference, ...] = ()
    settings: dict[str, str] = {}
    sha256: Sha256 | Literal[""] = ""


class Summary(_Form):
    verifier: Verifier
    time_verified: Annotated[str, Field(alias="timeVerified")]
    resource_uri: Annotated[str, Field(alias="resourceUri")]
    policy: Reference | None = None
    input_attestations: Annotated[tuple[Reference, ...], Field(alias="inputAttestations")] = ()
    verification_result: Annotated[Literal["PASSED", "FAILED"], Field(alias="verificationResult")]
    verified_levels: Annotated[tuple[str, ...], Field(alias="verifiedLevels")]
    details: Annotated[Details, Field(alias=DETAILS)]


class Statement(_Form):
    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")] = (
        "https://in-toto.io/Statement/v1"
    )
    subject: tuple[Subject, ...]
    predicate_type: Annotated[Literal["https://slsa.dev/verification_summary/v1"], Field(alias="predicateType")] = (
        "https://slsa.dev/verification_summary/v1"
    )
    predicate: Summary
