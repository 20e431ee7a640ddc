"""Proposed limits for a program."""

from dataclasses import asdict
from typing import Any

from pytest_maxact.errors import neutral, worded
from pytest_maxact.judge.suggest.propose import Proposal


def proposal_data(proposal: Proposal) -> dict[str, Any]:
    """For a program: the diff, and what every shape's Records saw, each list a value per Record."""
    return {
        "limits": str(proposal.path) if proposal.path else None,
        "changed": proposal.changed,
        "diff": proposal.diff(),
        "notes": [worded(note, neutral) for note in proposal.notes],
        "loosened": [asdict(one) for one in proposal.looser],
        "evidence": [
            {
                "model_type": evidence.identity.model_type,
                "layers": evidence.identity.layers,
                "hidden_size": evidence.identity.hidden_size,
                "checkpoints": list(evidence.checkpoints),
                "records": evidence.records,
                "source": evidence.source,
                "measured": asdict(evidence.measured),
                "max_abs": {name: list(values) for name, values in evidence.maxima.items()},
                "int8_sqnr_db": list(evidence.sqnr_db),
            }
            for evidence in proposal.evidence
        ],
    }
