"""What heads a verdict beside its findings: shipped checks that were not made, and what of the checkpoint makes loaders
differ. A Record, or what is known before there is one, in; remarks out.

Guard: a check that is switched off, by a limits file or by a config that hides the head, is never passed over unsaid.
"""

from collections.abc import Iterable, Iterator, Sequence

from pytest_maxact.judge.compare.noise import unsteady
from pytest_maxact.judge.context import context_remarks
from pytest_maxact.judge.limits.limit import CARRIER, Limit, bound_sites
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.scales import scale_remarks
from pytest_maxact.judge.verdict.weights import unscanned
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.provenance import Context, Provenance
from pytest_maxact.record.record import Record


def unpredicted_remark(predicts: bool, why: str) -> Iterator[str]:
    """`predicts`: its architecture has a next-token distribution; `why` it is not checked, empty where it is."""
    if predicts and why:
        yield (
            f"nothing checks that the model predicts text: {why}; where it is served with its head, name the class "
            "with the head in `architectures` of config.json"
        )


def remarks_before(
    predicts: bool, unpredicted: str, stated: tuple[str, ...], context: Context | None, samples: int, cut: int
) -> Iterator[str]:
    """Of a checkpoint that is still to be measured. `stated`: what was found of its files; `cut`: tokens after which
    samples are cut.
    """
    yield from unpredicted_remark(predicts, unpredicted)
    yield from stated
    yield from context_remarks(context, samples, cut)


def remarks_on(record: Record) -> Iterator[str]:
    """Of a Record."""
    provenance, told = record.provenance, record.predictions
    yield from filter(None, [unscanned(record), unsteady(record), stopped_words(provenance)])
    yield from scale_remarks(record)
    why = told.unchecked if told and told.by_design else ""
    yield from remarks_before(
        provenance.predicts, why, provenance.remarks, provenance.context, len(provenance.samples),
        provenance.max_seq_len,
    )  # fmt: skip


def stopped_words(provenance: Provenance) -> str:
    """How much of the text was run, where no more was to be once nothing rose; empty where all was to be."""
    stopped = provenance.stopped
    if stopped is None:
        return ""
    seen = f"{provenance.tokens} of {counted(stopped.of_tokens, 'token')}"
    rose = f"the last to rise was {stopped.site}, by token {stopped.last_rose}"
    still, rise = _watched_words(stopped.watched)
    if provenance.tokens < stopped.of_tokens:
        return f"the pass ended after {seen}, once {still} for {stopped.asked}: {rose}"
    return f"all of the text was run, {seen}: no step of it showed {stopped.asked} without {rise}; {rose}"


def _watched_words(watched: Sequence[str]) -> tuple[str, str]:
    """That none of what was watched rose, and what a rise of it is called."""
    bound = [name for name in watched if name != CARRIER]
    if not watched:
        return "no site rose", "a rise"
    if len(watched) == 1:
        (name,) = bound or ("M",)
        return f"{name} did not rise", f"a rise of {name}"
    sites = f"the {len(bound)} sites that limits bind" if len(bound) > 1 else bound[0]
    if len(bound) < len(watched):
        return f"neither M nor {'any of ' if len(bound) > 1 else ''}{sites} rose", f"a rise of M or of {sites}"
    return f"none of {sites} rose", f"a rise of {sites}"


def unwatched_remark(record: Record, limits: Iterable[Limit]) -> Iterator[str]:
    """Of a pass that ended early: limits on sites whose rises did not keep it going."""
    stopped = record.provenance.stopped
    if stopped is None or not stopped.watched or record.tokens == stopped.of_tokens:
        return
    sites = [reading.site for reading in record.sites.values()]
    missing = [name for name in bound_sites(limits, sites) if name not in stopped.watched]
    if missing:
        named = "M" if missing[0] == CARRIER else missing[0]
        yield (
            f"the pass ended early and did not wait for {counted(len(missing), 'site')} that limits bind, the first "
            f"{named}: it was measured for other limits"
        )


def noise_remarks(findings: Iterable[Finding]) -> Iterator[str]:
    """How many checks hold because a change is no more than the measurement itself gives."""
    excused = [finding for finding in findings if finding.is_noise]
    if excused:
        yield (
            f"{counted(len(excused), 'change')} beyond a limit {'is' if len(excused) == 1 else 'are'} inside the noise "
            f"of the measurement, the first {excused[0].limit.check}"
        )
