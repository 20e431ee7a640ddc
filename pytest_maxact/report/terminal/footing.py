"""What limits were measured on, beside what the run read, in remarks: a maximum over less text is a lower bound."""

from collections.abc import Iterator

from pytest_maxact.judge.portrait import Portrait
from pytest_maxact.report.terminal.screen import grouped


def footing_notes(portrait: Portrait) -> Iterator[str]:
    """A line for each kind of limits that were measured on more than the Record was, on other text or in another
    dtype.
    """
    if portrait.limits is None:
        return
    if portrait.limits.paper:
        yield "The limits come from 16-17 M tokens of the paper's corpus; a maximum over fewer tokens is a lower bound."
    if stated := portrait.limits.measured:
        provenance = portrait.provenance
        there = f"{grouped(stated.tokens)} tokens of corpus {stated.corpus} ({stated.sha256[:12]}) in {stated.dtype}"
        here = (
            f"{grouped(portrait.tokens)} tokens of {provenance.corpus} ({provenance.corpus_sha256[:12]}) in"
            f" {provenance.dtype}"
        )
        fewer = "; a maximum over fewer tokens is a lower bound" if portrait.tokens < stated.tokens else ""
        yield f"The figures of shape {portrait.limits.shape} were measured on {there}, this run on {here}{fewer}."
