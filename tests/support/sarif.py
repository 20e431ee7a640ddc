"""What the standard says of the parts of SARIF 2.1.0 that are written here, as a schema that lets nothing else stand.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html, by section; and GitHub's limits, from
https://docs.github.com/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning.
"""

from typing import Any


def _object(required: str, optional: str = "", **properties: Any) -> dict[str, Any]:
    """An object with these keys and no others; what is said of none of them may be anything."""
    names = [*required.split(), *optional.split()]
    return {
        "type": "object",
        "required": required.split(),
        "properties": {name: properties.get(name, {}) for name in names},
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}
_MESSAGE = _object("text", "markdown id arguments", text=_TEXT)  # 3.11
_MULTIFORMAT = _object("text", "markdown", text=_TEXT, markdown=_TEXT)  # 3.12
_URI = {"type": "string", "pattern": r"^(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})+$"}  # RFC 3986
_ARTIFACT = _object("uri", "uriBaseId index", uri=_URI, uriBaseId={"const": "SRCROOT"})  # 3.4
_REGION = _object("startLine", "startColumn endLine endColumn", startLine={"type": "integer", "minimum": 1})  # 3.30
_LOCATION = _object(
    "physicalLocation",
    physicalLocation=_object("artifactLocation region", artifactLocation=_ARTIFACT, region=_REGION),
)  # 3.28, 3.29
_SUPPRESSION = _object(
    "kind",
    "status justification location",
    kind={"enum": ["inSource", "external"]},
    status={"enum": ["accepted", "underReview", "rejected"]},
    justification=_TEXT,
    location=_LOCATION,
)  # 3.35
_RESULT = _object(
    "ruleId ruleIndex level message locations partialFingerprints",
    "suppressions properties",
    ruleId=_TEXT,
    ruleIndex={"type": "integer", "minimum": 0},
    level=_LEVEL,
    message=_MESSAGE,
    locations={"type": "array", "minItems": 1, "maxItems": 10, "items": _LOCATION},
    partialFingerprints={
        "type": "object",
        "required": ["primaryLocationLineHash"],
        "additionalProperties": {"type": "string", "minLength": 1},
    },
    suppressions={"type": "array", "items": _SUPPRESSION, "uniqueItems": True},
    properties={"type": "object"},
)  # 3.27
_RULE = _object(
    "id shortDescription fullDescription help defaultConfiguration",
    "name helpUri properties",
    id=_TEXT,
    shortDescription=_MULTIFORMAT,
    fullDescription=_MULTIFORMAT,
    help=_MULTIFORMAT,
    helpUri={"type": "string", "pattern": "^https://"},
    defaultConfiguration=_object("level", level=_LEVEL),
    properties=_object("tags", "problem.severity precision", tags={"type": "array", "maxItems": 10}),
)  # 3.49
_DRIVER = _object(
    "name version rules",
    "informationUri",
    name=_TEXT,
    version=_TEXT,
    rules={"type": "array", "items": _RULE, "maxItems": 25_000, "uniqueItems": True},
)  # 3.19
_NOTIFICATION = _object("level message", level=_LEVEL, message=_MESSAGE)  # 3.58
_RUN = _object(
    "tool results",
    "automationDetails originalUriBaseIds invocations columnKind properties",
    tool=_object("driver", driver=_DRIVER),
    automationDetails=_object("id", id={"type": "string", "pattern": "^[^/]+/[^/]*/$"}),
    originalUriBaseIds={
        "type": "object",
        "additionalProperties": _object("uri", uri={"type": "string", "pattern": "^file:///.*/$"}),
    },  # 3.14.14: an absolute URI that ends with a slash
    invocations={
        "type": "array",
        "items": _object(
            "executionSuccessful",
            "toolExecutionNotifications",
            executionSuccessful={"type": "boolean"},
            toolExecutionNotifications={"type": "array", "items": _NOTIFICATION},
        ),
    },  # 3.20
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    results={"type": "array", "items": _RESULT, "maxItems": 25_000},
)  # 3.14
SCHEMA = _object(
    "version runs",
    "$schema",
    version={"const": "2.1.0"},
    runs={"type": "array", "items": _RUN, "minItems": 1, "maxItems": 20},
)  # 3.13
