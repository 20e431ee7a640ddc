"""Limits of a model by the text of a limits file, by the road the gate takes, and how a text is refused."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset, select_rules
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.identity import Identity
from tests.support.records import sites

QWEN3 = Identity(model_type="qwen3", layers=36, hidden_size=4096)
UNPUBLISHED = Identity(model_type="qwen3", layers=2, hidden_size=64)
HEAD = "version: 1\nprotocol: paper\nheadroom: 2.0\n"


def rules_of(
    text: str,
    folder: Path,
    identity: Identity = UNPUBLISHED,
    model: Iterable[Site] | None = None,
    family: str | None = None,
) -> Ruleset:
    """The limits that a file with this text sets for a model, by the road the gate takes."""
    path = folder / "limits.yaml"
    path.write_text(text, encoding="utf-8")
    return select_rules(load_limits(path), identity, model or sites(identity.layers), family)


def limit_of(rules: Ruleset, check: str) -> Limit:
    (limit,) = (limit for limit in rules.limits if limit.check == check)
    return limit


def bounds(rules: Ruleset, metric: str = "max_abs") -> dict[str, float]:
    return {limit.site: limit.bound for limit in rules.limits if limit.metric.name == metric}


def written_at(limit: Limit) -> str:
    """The line of the file that a limit names."""
    return Path(limit.file).read_text(encoding="utf-8").splitlines()[limit.line - 1].strip()


def refusal(text: str, folder: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        rules_of(text, folder, **options)  # type: ignore[arg-type]
    return str(caught.value)


FAMILY = "families:\n  qwen3:\n    model_types: [qwen3]\n"
