"""A run as a fragment of a bill of materials for machine learning: an account in, a CycloneDX document with one
component, its model card and performance metrics out.

Source: CycloneDX 1.6, `modelCard.quantitativeAnalysis.performanceMetrics`, whose values and bounds are text. Nothing in
it tells when it was written, so that the same run gives the same file.
"""

import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pytest_maxact.errors import shown, worded
from pytest_maxact.judge.account import Account
from pytest_maxact.report.card.figures import (
    SOURCE,
    URL,
    Stated,
    beyond,
    confidence,
    measured,
    model_name,
    portrait_of,
    stated,
    verdict_of,
)

FORMAT, VERSION = "CycloneDX", "1.6"
_MOST_BYTES = 1 << 24


def bom(account: Account, place: Path) -> bytes:
    """`place` says nothing: a fragment is written anew."""
    return (json.dumps(document(account), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def document(account: Account) -> dict[str, Any]:
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{VERSION}.schema.json",
        "bomFormat": FORMAT,
        "specVersion": VERSION,
        "version": 1,
        "metadata": {
            "tools": {
                "components": [
                    {
                        "type": "application",
                        "name": SOURCE,
                        "version": version(SOURCE),
                        "externalReferences": [{"type": "website", "url": URL}],
                    }
                ]
            }
        },
        "components": [_component(account)],
    }


def is_bom(path: Path) -> bool:
    """Whether a file is such a fragment of ours: a bill of materials of somebody else's is not replaced by one."""
    try:
        content = json.loads(path.read_bytes()[:_MOST_BYTES])
        tools = content["metadata"]["tools"]["components"]
        return content["bomFormat"] == FORMAT and [tool["name"] for tool in tools] == [SOURCE]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _component(account: Account) -> dict[str, Any]:
    portrait, name = portrait_of(account), model_name(account)
    provenance = portrait.provenance if portrait else None
    about = measured(provenance) if provenance else {}
    unseen = beyond(portrait.trust.beyond) if portrait and portrait.trust else {}
    parameters = (
        {"architectureFamily": shown(provenance.model_type), "modelArchitecture": shown(provenance.architecture)}
        if provenance
        else {}
    )
    return {
        "type": "machine-learning-model",
        "bom-ref": f"maxact:{provenance.weights_sha256 if provenance else 'unmeasured'}",
        "name": name,
        **({"version": shown(provenance.revision)} if provenance and provenance.revision else {}),
        "modelCard": {
            **({"modelParameters": parameters} if parameters else {}),
            "quantitativeAnalysis": {"performanceMetrics": [_metric(one) for one in stated(account)]},
        },
        "properties": [
            {"name": f"maxact:{key}", "value": value}
            for key, value in (
                *_text({**about, **unseen, **verdict_of(account).about}).items(),
                *(("fault", _said(account, fault)) for fault in account.faults),
            )
        ],
    }


def _metric(one: Stated) -> dict[str, Any]:
    ends = confidence(one.interval)
    site = one.about.get("site")
    return {
        "type": one.type,
        "value": one.value if isinstance(one.value, str) else _number(one.value),
        **({"slice": shown(str(site))} if site else {}),
        **({"confidenceInterval": {"lowerBound": _number(ends[0]), "upperBound": _number(ends[1])}} if ends else {}),
    }


def _said(account: Account, text: str) -> str:
    return worded(text, account.words)


def _number(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else "not finite"


def _text(about: Mapping[str, str | int | float]) -> dict[str, str]:
    return {key: shown(str(value)) for key, value in about.items()}
