"""What is said of proposed limits beside their diff: what stayed as it is, and what was done or the command that does
it.
"""

import shlex
from collections.abc import Iterator, Sequence

from pytest_maxact.errors import shown, uncommanded
from pytest_maxact.judge.suggest.propose import Proposal


def harmless_diff(proposal: Proposal) -> str:
    """The diff as it is printed: what a terminal would obey in the comments of a file is spelled out, tabs apart."""
    lines = ("\t".join(map(shown, line.split("\t"))) for line in proposal.diff().split("\n"))
    return "\n".join(map(uncommanded, lines))


def closing(proposal: Proposal, records: Sequence[str], *, per_layer: bool, written: bool) -> Iterator[str]:
    """What stayed as it is, and then what was done or the command that does it."""
    yield from (f"left: {note}" for note in proposal.notes)
    if not proposal.changed:
        yield f"{proposal.path or 'the shipped limits'}: nothing to change"
    elif written:
        yield f"{proposal.path}: written; review it, and commit it"
    else:
        file = str(proposal.path) if proposal.path else "FILE"
        loosen = ["--loosen"] if proposal.looser else []
        options = ["--limits", file, *(["--per-layer"] if per_layer else []), "--update", "all", *loosen]
        yield f"to write this: {shlex.join(['maxact', 'suggest', *records, *options])}"
