"""What is said of proposed limits beside their diff: as data for a program, and in a closing line that tells the next
command.
"""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from pytest_maxact.limits.edit import Proposal


def as_data(proposal: Proposal) -> dict[str, Any]:
    """For a program: the diff, and what every shape's Records saw, each list a value per Record."""
    return {
        "limits": str(proposal.path) if proposal.path else None,
        "changed": proposal.changed,
        "diff": proposal.diff(),
        "notes": list(proposal.notes),
        "evidence": [
            {
                "model_type": evidence.identity.model_type,
                "layers": evidence.identity.layers,
                "hidden_size": evidence.identity.hidden_size,
                "checkpoints": list(evidence.checkpoints),
                "records": evidence.records,
                "source": evidence.source,
                "measured": dict(evidence.measured),
                "max_abs": {name: list(values) for name, values in evidence.maxima.items()},
                "int8_sqnr_db": list(evidence.sqnr_db),
            }
            for evidence in proposal.evidence
        ],
    }


def closing(proposal: Proposal, records: Sequence[str], *, per_layer: bool, written: bool) -> Iterator[str]:
    """What stayed as it is, and then what was done or the command that does it."""
    yield from (f"left: {note}" for note in proposal.notes)
    if not proposal.changed:
        yield f"{proposal.path or 'the shipped limits'}: nothing to change"
    elif written:
        yield f"{proposal.path}: written; review it, and commit it"
    else:
        file = str(proposal.path) if proposal.path else "FILE"
        options = ["--limits", file, *(["--per-layer"] if per_layer else []), "--update", "all"]
        yield f"to write this: {shlex.join(['maxact', 'suggest', *records, *options])}"
