"""The form of a limits file: plain data in, a validated document out; strict, no unknown keys, no NaN or infinity.
Editors are told it by limits.schema.json, which follows from these models.
"""

from typing import Annotated, Literal

from pydantic import Field

from pytest_maxact.judge.limits.schema.artifact import Artifact
from pytest_maxact.judge.limits.schema.family import Family
from pytest_maxact.judge.limits.schema.sections import (
    Attention,
    Deploy,
    FoundOn,
    Generic,
    Margins,
    Regression,
    WaiverEntry,
)
from pytest_maxact.judge.limits.schema.terms import ONE_ONLY, Headroom, Section, Text


class LimitsDocument(Section):
    version: ONE_ONLY
    extends: Literal["builtin"] | None = None
    protocol: Literal["paper", "deployed"] = "paper"
    headroom: Headroom | None = None
    source: Text | None = None
    text: FoundOn | None = None
    generic: Generic | None = None
    attention: Attention | None = None
    deploy: Deploy | None = None
    regression: Regression | None = None
    artifact: Artifact | None = None
    waive: list[WaiverEntry] = []
    max_waiver_days: Annotated[int, Field(gt=0, le=3650)] | None = None
    margins: Margins = Margins()
    families: dict[Text, Family] = {}
