"""The form of a limits file: plain data in, a validated document out; strict, no unknown keys, no NaN or infinity.
Editors are told it by limits.schema.json, which follows from these models.
"""

from typing import Literal

from pytest_maxact.judge.limits.schema.family import Family
from pytest_maxact.judge.limits.schema.sections import Deploy, FoundOn, Generic, Regression, WaiverEntry
from pytest_maxact.judge.limits.schema.terms import Headroom, Section, Text


class LimitsDocument(Section):
    version: Literal[1]
    extends: Literal["builtin"] | None = None
    protocol: Literal["paper", "deployed"] = "paper"
    headroom: Headroom = 1.25
    source: Text | None = None
    text: FoundOn | None = None
    generic: Generic | None = None
    deploy: Deploy | None = None
    regression: Regression | None = None
    waive: list[WaiverEntry] = []
    families: dict[Text, Family] = {}
