"""What the file of JUnit says of a whole run: its account in; names and values out, which whoever writes such a file
puts into it, pytest or we.

Guards that both say the same of a run, where nothing could be measured too.
"""

from collections.abc import Iterator

from pytest_maxact.errors import shown
from pytest_maxact.judge.account import Account, Judged
from pytest_maxact.report.data.properties import PREFIX

_NONE = "none of the checks was run"


def suite_properties(account: Account) -> Iterator[tuple[str, str]]:
    """Properties of the suite; those of a checkpoint of a series with its name."""
    for name, value in _of_run(account):
        yield shown(f"{PREFIX}{name}"), value


def _of_run(account: Account) -> Iterator[tuple[str, str]]:
    yield "verdict", _NONE if account.verdict == "NONE" and account.finished else account.verdict
    if outcome := account.outcome:
        yield "checks", f"{sum(len(one.ran) for one in outcome.checkpoints)} of {outcome.checks} were run"
    yield "limits", ", ".join(account.limits)
    for one in account.checkpoints:
        place = f"{one.name}." if one.name else ""
        for name, value in _of(one):
            yield f"{place}{name}", value


def _of(judged: Judged) -> Iterator[tuple[str, str]]:
    known = judged.provenance
    if judged.is_record:
        yield "record", judged.source
    if known is None:
        if not judged.is_record:
            yield "model", judged.source
            if judged.revision:
                yield "revision", judged.revision
            yield "protocol", judged.protocol
        return
    yield "model", known.model
    if known.revision:
        yield "revision", known.revision
    yield "weights_sha256", known.weights_sha256
    yield "corpus", known.corpus
    yield "corpus_sha256", known.corpus_sha256
    yield "protocol", known.protocol
    if judged.concluded and judged.concluded.portrait:
        yield "m", f"{judged.concluded.portrait.m.value:.9g}"
