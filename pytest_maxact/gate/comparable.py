"""Whether a checkpoint may be compared with a baseline, asked before any weights load."""

from pytest_maxact.errors import InputError, setting
from pytest_maxact.gate.candidate import Candidate
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.record.comparability import differences, sample_counts
from pytest_maxact.record.metrics.metric import SHIFT
from pytest_maxact.record.record import first_broken


def require_comparable(subject: Candidate, baseline: Candidate, what: str, *, is_source: bool = False) -> None:
    """Raise InputError where figures of `subject` may not be compared with those of `baseline`, with the fields that
    differ.

    `what` says what the baseline is, with the setting that named it; `is_source`: what the subject was made from.
    """
    whose = subject.source.name or subject.title.split(" (")[0]
    fields = differences(baseline.footing, subject.footing, by_ids=is_source)
    if fields:
        counts = sample_counts(baseline.samples, subject.samples)
        raise InputError(
            f"{what} cannot be compared with {whose}: they differ in {', '.join(fields)}{counts}\n"
            "  measure both on the same corpus, with the same tokenizer, protocol, dtype, arithmetic and cut"
        )
    if subject.identity.hidden_size != baseline.identity.hidden_size:
        raise InputError(
            f"{what} cannot be compared with {whose}: it is a model of {baseline.identity.shape}, this one of "
            f"{subject.identity.shape}\n"
            "  a baseline is of the same architecture; give one of this model's"
        )
    here, there = {site.name: site for site in subject.sites}, {site.name: site for site in baseline.sites}
    lacking = [name for name in here if name not in there]
    gone = [name for name, site in there.items() if name not in here and not site.is_beside]
    if lacking or gone:
        words = f"has no {lacking[0]}" if lacking else f"has {gone[0]}, which is not here"
        raise InputError(
            f"{what} cannot be compared with {whose}: it {words}, so not every site could be "
            f"({len(lacking) + len(gone)} such sites)\n"
            f"  a baseline is of the same architecture, measured with the same {setting('sites')} and schemes"
        )
    if missing := [name for name in subject.schemes if name not in baseline.schemes]:
        raise InputError(
            f"{what} cannot be compared with {whose}: it was not measured under {', '.join(missing)}\n"
            "  measure it again under the same schemes"
        )


def require_source(subject: Candidate, source: Candidate, what: str) -> None:
    """Raise InputError for a source that is another kind of model than the artifact, is in low bits itself, or is not
    the one that a Record says it was compared with.
    """
    here, there = subject.identity, source.identity
    pairs = {"model_type": (there.model_type, here.model_type), "layers": (there.layers, here.layers)}
    if differing := [f"{name} ({one} there, {other} here)" for name, (one, other) in pairs.items() if one != other]:
        raise InputError(
            f"{what} is not what {subject.title} was made from: they differ in {', '.join(differing)}\n"
            "  give the checkpoint in 16 bits that the artifact was made from"
        )
    low = source.record.provenance.low_bits if source.record else None
    if there.quantized or low:
        raise InputError(
            f"{what}: its weights are quantized themselves{f' ({low.method})' if low else ''}\n"
            "  give the checkpoint in 16 bits that the artifact was made from"
        )
    told = subject.record.source if subject.record else None
    if told and source.record and told.weights_sha256 != source.record.provenance.weights_sha256:
        raise InputError(
            f"{what} is not the source that {subject.title} was compared with when it was measured: its weights are "
            f"{source.record.provenance.weights_sha256[:12]}, those were {told.weights_sha256[:12]}\n"
            "  give the Record of that one, or measure the artifact again"
        )


def require_sound(baseline: Candidate, what: str) -> None:
    """Raise InputError for a baseline that is broken itself, as far as that is known before measuring."""
    if baseline.record and (broken := first_broken(baseline.record.sites.values())):
        raise InputError(
            f"{what}: {broken.site.name} holds NaN or infinite entries, so nothing can be compared with it\n"
            "  give a sound baseline"
        )


def require_distributions(subject: Candidate, baseline: Candidate, rules: Ruleset) -> None:
    """Raise InputError where distributions are to be compared, and a slim Record keeps none."""
    wanted = next((limit for limit in rules.limits if limit.metric == SHIFT), None)
    slim = next((one for one in (subject, baseline) if one.record and one.record.is_summary), None)
    if wanted and slim:
        raise InputError(
            f"{wanted.file}:{wanted.line}: max_shift compares distributions, and the Record {slim.source.path} is "
            "slim, it keeps none\n"
            f"  measure it again without {setting('slim')}, or leave out max_shift"
        )
