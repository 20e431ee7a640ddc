"""The form of the JSON report of a run, from which its published schema is written. Plain data.

`version` counts `major.minor`. What reads 1.0 reads every 1.x: keys are added, which the published schema lets stand,
and none goes or changes its meaning; a word for an outcome that it does not know means no PASS. What breaks readers is
2.0, under another `schema`.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from pytest_maxact.judge.statement.schema import CheckOutcome
from pytest_maxact.judge.verdict.tally import Verdict

SCHEMA: Final = "https://github.com/pytest-maxact/pytest-maxact/report/v1"
VERSION: Final = "1.0"

Number = float | Literal["inf", "-inf", "nan"]
"""What is no finite number is a word, for JSON has none."""


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_by_name=True)


class Place(_Form):
    """Where a value sat: the sample, the token there and its position, the channel along the width of the site.
    `before` and `after`: a little of the text around the token, null where it is not known.
    """

    value: Number
    sample: str
    position: int
    token: str
    token_id: int
    channel: int
    part: str
    before: str | None
    after: str | None


class Waived(_Form):
    """Who lets it pass, why, and until when; where that is written."""

    owner: str
    reason: str
    until: str
    up_to: Number | None
    file: str
    line: int


class Between(_Form):
    """From `low` to `high`, told by so many samples. What lies between them goes by the `kind`: `average`, what 95 of
    100 other sets of samples give; `maximum`, from what other text of this size reaches nearly always to what the same
    text may give again, and `minimum`, the same of what falls where a maximum rises, and nobody knows how far unseen
    text goes; `repeated`, what the same text may give again. `meaning` says what it stands on. `moved`: where an
    average may lie for other causes than other samples, as the same text measured again; null of what has no such ends.
    """

    kind: str
    low: Number
    high: Number
    samples: int
    meaning: str
    moved: tuple[Number, Number] | None


class Check(_Form):
    """One check. `value`, `passed` and `peak` are null where it could not be judged, or was not run and needs more to
    be measured; `headroom`: how far the value is from the limit as a share of it, negative beyond; null where no such
    share is (dB). `file` and `line`: of the limit. `interval`: of the
    value; `too_close`: it reaches over the limit; `no_interval`: why there is none of a value that comes from samples.
    """

    check: str
    outcome: CheckOutcome
    checkpoint: str
    site: str
    limited: str
    layer: int | None
    metric: str
    baseline: str | None
    value: Number | None
    limit: Number
    sense: Literal["max", "min"]
    headroom: Number | None
    passed: bool | None
    too_close: bool
    interval: Between | None
    no_interval: str
    inside_noise: bool
    waived: Waived | None
    rule: str
    source: str
    file: str
    line: int
    message: str
    peak: Place | None


class WaiverCheck(_Form):
    """One waiver of the limits files, which fails where it expired or is stale."""

    check: str
    outcome: CheckOutcome
    site: str
    metric: str
    checkpoint: str
    fault: str
    waiver: Waived


class Largest(_Form):
    """M: the largest magnitude of all counted sites."""

    value: Number
    site: str
    where: str
    published: str
    peak: Place | None


class Measured(_Form):
    """Where a Record comes from: what was measured, on what text, and how."""

    model: str
    revision: str | None
    weights_sha256: str
    files: dict[str, str]
    model_type: str
    family: str | None
    layers: int
    hidden_size: int
    config_sha256: str
    tokenizer_sha256: str
    protocol: str
    corpus: str
    corpus_sha256: str
    tokens_sha256: str | None
    tokens: int
    samples: int
    max_seq_len: int
    dtype: str
    stored: str
    device: str
    placement: str
    arithmetic: str | None
    attention: str
    shard: str | None
    schemes: tuple[str, ...]
    left_out: tuple[str, ...]
    versions: dict[str, str]


class Checkpoint(_Form):
    """One checkpoint under test: what was asked for, and what was found. `m` and `measured` are null where there is no
    Record of it, and `failure` says why.
    """

    name: str
    title: str
    given: str
    is_record: bool
    step: int | None
    family: str
    limits: tuple[str, ...]
    failure: str | None
    m: Largest | None
    measured: Measured | None
    checks: tuple[Check, ...]


class Counts(_Form):
    """As the headline of the report has them; waivers are checks of their own. `too_close`: of those that hold;
    `failed_too_close`: of those that failed; `unjudged`: besides the `checks`, those that ran and could not be judged.
    """

    checks: int
    failed: int
    waived: int
    too_close: int
    failed_too_close: int
    unjudged: int
    not_run: int
    waivers: int
    waivers_failed: int
    waivers_not_run: int


class RunReport(_Form):
    """The report of one run. `verdict` is NONE where no check was run, PARTIAL where what ran passed and not all ran,
    and never either of PASS and PARTIAL where the run did not finish.
    """

    schema_: Annotated[Literal["https://github.com/pytest-maxact/pytest-maxact/report/v1"], Field(alias="schema")]
    version: Annotated[str, Field(pattern=r"^1\.[0-9]+$")]
    made_by: dict[str, str]
    finished: bool
    verdict: Verdict
    rests: str
    counts: Counts | None
    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    settings: dict[str, str]
    limits: tuple[str, ...]
    baselines: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    waivers: tuple[WaiverCheck, ...]
    series: dict[str, Any] | None
