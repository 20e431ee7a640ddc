"""What limits were measured on, beside what the run read: a Record, its limits and findings in, remarks out. A maximum
over less text is a lower bound.
"""

from collections.abc import Iterator, Sequence

from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.record import Record
from pytest_maxact.report.terminal.console import grouped

PUBLISHED_TOKENS = 16_000_000
"""Of the paper's corpus, by the tokenizer that gives the fewest."""


def footing_notes(record: Record, rules: Ruleset, findings: Sequence[Finding]) -> Iterator[str]:
    """A line for each kind of limits that were measured on more than the Record was, on other text or in another
    dtype.
    """
    if record.tokens < PUBLISHED_TOKENS and any(finding.limit.source.startswith("arXiv") for finding in findings):
        yield "The limits come from 16-17 M tokens of the paper's corpus; a maximum over fewer tokens is a lower bound."
    stated, provenance = rules.measured, record.provenance
    if stated is None:
        return
    # a cut leaves the digest as it is
    same_text = provenance.corpus_sha256.startswith(stated.sha256) and record.tokens == stated.tokens
    if same_text and provenance.dtype == stated.dtype:
        return
    there = f"{grouped(stated.tokens)} tokens of corpus {stated.corpus} ({stated.sha256[:12]}) in {stated.dtype}"
    here = (
        f"{grouped(record.tokens)} tokens of {provenance.corpus} ({provenance.corpus_sha256[:12]}) in"
        f" {provenance.dtype}"
    )
    fewer = "; a maximum over fewer tokens is a lower bound" if record.tokens < stated.tokens else ""
    yield f"The figures of shape {rules.shape} were measured on {there}, this run on {here}{fewer}."
