"""Proposals of limits, and what they say and set."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import parse_limits
from pytest_maxact.judge.limits.limit import CARRIER, Limit
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.suggest.propose import Proposal, propose
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.record import Record
from tests.support.records import reading as reading_of
from tests.support.records import record, seen

SQNR = f"{CARRIER}::int8.max_abs.sqnr_db"
OWN = """\
version: 1   # ours
extends: builtin
headroom: 1.25
families:
  # the model of the house
  qwen3:
    shapes:
      - name: House
        checkpoints: ["v1"]
        layers: 2
        hidden_size: 4
        limits:
          embedding:  1.5    # seen in May
          hidden:     10

  # another
  mine:
    model_types: [mine]
    limits: {hidden: 5}
"""

MEASURED = f"{{corpus: built-in, sha256: {seen().provenance.corpus_sha256[:12]}, tokens: 2, dtype: bfloat16}}"


def limits_of(text: str, one: Record) -> dict[str, Limit]:
    rules = select_rules(
        parse_limits(text, Path("mine.yaml")), identity_of(one.provenance), [r.site for r in one.sites.values()]
    )
    return {limit.check: limit for limit in rules.limits}


def failures(text: str, one: Record) -> list[Finding]:
    return [finding for finding in judge(one, limits_of(text, one).values()) if not finding.passed]


def moved(proposal: Proposal) -> list[str]:
    """Lines that the diff takes out and puts in."""
    return [line for line in proposal.diff().splitlines()[2:] if line[0] in "+-"]


def refusal(records: list[Record], path: Path | None, mode: str = "all", **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        propose(records, path, mode=mode, **options)
    return str(caught.value)


def whole(**changes: Any) -> Record:
    """A Record with a site of every kind that a dense model has in either of two layers."""
    kinds = ("hidden", "attn_output", "mlp_output", "gate")
    values = {f"layers.{layer}.{kind}": [[2.5, 0.375]] for layer in (0, 1) for kind in kinds}
    return record({"embedding": [[0.25, 0.375]], **values, "final_norm": [[3.0, 0.375]]}, **changes)


def _sites(one: Record) -> list[Any]:
    return [reading.site for reading in one.sites.values()]


def _scaled(one: Record, site: str, factor: float) -> Record:
    """The Record with one site's entries multiplied."""
    largest = one[site].max_abs * factor
    return replace(one, sites={**one.sites, site: reading_of([largest, 0.375], [largest, 0.375], site)})
