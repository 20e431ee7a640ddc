"""The facts of a run, a label and a line or two each: the checkpoint, its limits and corpus, M, and what follows for
low-bit formats.
"""

from collections.abc import Iterator

from pytest_maxact.errors import shown
from pytest_maxact.judge.portrait import AppliedLimits, HalfRange, MassiveLayers, Maximum, Portrait, RoutedExperts
from pytest_maxact.judge.trust.carries import carried_words
from pytest_maxact.judge.trust.hunt import hunt_line
from pytest_maxact.judge.trust.stress import stress_line
from pytest_maxact.numbers.arithmetic import ACCUMULATED
from pytest_maxact.numbers.counted import counted, counted_of, plural
from pytest_maxact.numbers.formats import FP16_MAX
from pytest_maxact.numbers.noise import Noise
from pytest_maxact.numbers.scan import WeightScan
from pytest_maxact.record.logits import LayerLogits
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.provenance import Context, Provenance
from pytest_maxact.report.terminal.screen import Column, Grid, Text, grouped
from pytest_maxact.report.terminal.static import static_words
from pytest_maxact.report.terminal.trust import trust_line
from pytest_maxact.settings.userfiles import short_name

LABEL = Column(style="bold")
_NAMED = 4
"""How many sites beyond the range of FP16 are named."""
_EARLIER = "this Record is of an earlier version; measure again"
Fact = tuple[str, str | Text]


def facts_grid(portrait: Portrait) -> Grid:
    """Labels in the first column, facts in the second."""
    return Grid(columns=(LABEL, Column(fold=True)), rows=list(_facts(portrait)), gap=2)


def _facts(portrait: Portrait) -> Iterator[Fact]:
    yield from _measured(portrait)
    yield "M", Text(_maximum_words(portrait.m), style="bold")
    yield "", portrait.m.standing
    if portrait.trust:
        yield "trust", trust_line(portrait.trust)
        if portrait.trust.carried and portrait.trust.carried.is_alone:
            yield "carrier", carried_words(portrait.trust.carried)
    elif portrait.slim:
        yield "trust", "not told: a slim Record keeps nothing of single samples"
    if broken := portrait.broken:
        words = f"{_many(broken.entries, 'NaN or infinite entry')} at {counted(broken.sites, 'site')}, the first"
        f" {broken.first}"
        yield "broken", Text(words, style="bold red")
    yield "predicts", predictions_words(portrait.predictions)
    if not portrait.probed:
        yield "layers", Text(f"unchecked whether each does something: {_EARLIER}", style="yellow")
    yield from _weights(portrait.weights)
    yield "FP16", _half_words(portrait.fp16)
    yield "INT-8", _int8_words(portrait)
    if portrait.logits:
        yield "attention", _logits_words(max(portrait.logits, key=lambda found: found.largest))
    if portrait.static is not None:
        yield "scales", static_words(portrait.static)
    yield "massive", _massive_words(portrait.massive)
    if portrait.experts:
        yield "experts", _experts_words(portrait.experts)
    if portrait.stress:
        yield "stress", Text(stress_line(portrait.stress), style="bold red" if portrait.stress.broken else "")
    for what, why in portrait.untried.items():
        yield what, Text(f"could not be tried: {why.splitlines()[0]}", style="bold red")
    if portrait.hunt:
        yield "hunt", hunt_line(portrait.hunt)
    provenance = portrait.provenance
    if provenance.left_out:
        yield "left out", "; ".join(provenance.left_out)
    if portrait.noise:
        yield "repeats", _noise_words(portrait.noise)
    if alone := provenance.batching.get("alone"):
        all_ran = alone >= len(provenance.samples)
        ran = "every sequence" if all_ran else counted_of(alone, len(provenance.samples), "sequence")
        why = "what else is in its batch" if all_ran else "the longest sequence of its batch, beyond a length"
        yield "batches", f"{ran} ran alone: in this model what a token gives depends on {why}"
    if provenance.batching.get("out_of_memory"):
        yield "memory", _halved(provenance.batching["out_of_memory"])


def _measured(portrait: Portrait) -> Iterator[Fact]:
    """What was measured, held against what, and on which text."""
    provenance, limits = portrait.provenance, portrait.limits
    revision = f" at {provenance.revision[:12]}" if provenance.revision else ""
    yield "model", f"{provenance.model}{revision}"
    yield (
        "",
        f"{provenance.model_type}, {counted(provenance.layers, 'layer')} x {provenance.hidden_size},"
        f" {_computed(provenance)}",
    )
    if limits:
        yield "limits", _limits_words(limits)
        if limits.unlimited:
            yield "", Text(f"no limit on max_abs for: {', '.join(limits.unlimited)}", style="yellow")
    yield (
        "corpus",
        f"{provenance.corpus} ({provenance.corpus_sha256[:12]}), {counted(len(provenance.samples), 'sample')},"
        f" {_many(portrait.tokens, 'token')}, protocol {provenance.protocol}",
    )
    if provenance.shard:
        yield "", Text("part {} of {} of a measurement: merge all".format(*provenance.shard.split("/")), style="yellow")
    yield "", _context_words(provenance.context, provenance.max_seq_len)


def _computed(provenance: Provenance) -> str:
    """In which format, on what, and how, where that is not the device's own way."""
    how = f", {ACCUMULATED}" if (provenance.arithmetic or "").startswith(ACCUMULATED) else ""
    how += f", {provenance.placement}" if provenance.placement else ""
    stored = f"; stored as {provenance.stored}" if provenance.stored else ""
    return f"{provenance.dtype} on {provenance.device}{how}{stored}"


def _noise_words(noise: Noise) -> str:
    """How far the largest magnitudes moved when samples were measured again."""
    moved = {name: spread.max_abs for name, spread in noise.sites.items()}
    worst = max(moved, key=moved.__getitem__)
    missed = f"; left out: {', '.join(noise.left_out)}" if noise.left_out else ""
    found = f"maxima moved by at most {moved[worst]:.2%} ({worst})" if moved[worst] else "no maximum moved"
    return (
        f"{counted(noise.samples, 'sample')} again under {counted(len(noise.conditions), 'condition')}: {found}{missed}"
    )


def _context_words(context: Context | None, cut: int) -> str:
    if context is None:
        return "of an earlier version: how its text fits the model is not known; measure again"
    positions = f" of {grouped(context.positions)} positions" if context.positions else ""
    whole = f"{_many(context.cut, 'sample')} cut to {grouped(cut)}" if context.cut else "none cut"
    longest = f"the longest sample {grouped(context.longest)}{positions}"
    return f"{_many(context.distinct, 'different token')}, {longest}, {whole}"


def _limits_words(limits: AppliedLimits) -> str:
    files = ", ".join(short_name(file) for file in limits.files)
    if limits.family == "generic":
        return f"generic: nothing non-finite, every site seen, FP16 range ({files})"
    if limits.shape:
        return f"family {limits.family}, shape {limits.shape} ({files})"
    if limits.envelope:
        return (
            f"family {limits.family}, envelope: nobody published this shape, so the family's largest figures with a"
            f" wider headroom ({files})"
        )
    return f"family {limits.family} ({files})"


def _maximum_words(m: Maximum) -> str:
    if m.nonfinite:
        return f"not finite in {m.site.name}"
    where = f", {m.where.removeprefix('at ')}" if m.where else ""
    return f"{m.value:.6g} in {m.site.name}{where}"


def _weights(scan: WeightScan | None) -> Iterator[Fact]:
    if scan is None:
        yield "weights", Text("this Record holds no scan of them: measure again", style="yellow")
        return
    where = f" in {scan.files[0] if len(scan.files) == 1 else f'{len(scan.files)} files'}" if scan.files else ""
    largest = (
        f"; the largest magnitude {scan.named[scan.largest].largest:.6g} in {scan.largest}" if scan.largest else ""
    )
    faults = [
        f"{len(names)} {what}{', the first' if len(names) > 1 else ':'} {next(iter(names))}"
        for names, what in (
            (scan.broken, "with NaN or infinite entries"),
            (scan.misfits, "missing, or other than the config calls for"),
            (scan.empty, "with matrices of nothing but zeros"),
        )
        if names
    ]
    if scan.lint is not None and scan.lint.red:
        first = next(fault for fault in scan.lint.faults if not fault.kind.remark)
        faults.append(f"{_many(scan.lint.red, 'fault')} of low bits, the first: {first.tensor}, {first.kind.means}")
    all_of_them = f"{_many(scan.tensors, 'tensor')}{where}, {_many(scan.elements, 'entry')}"
    if faults:
        yield "weights", Text(f"{all_of_them}: {'; '.join(faults)}", style="bold red")
    else:
        yield "weights", f"{all_of_them}, all of them finite{largest}"


def _logits_words(found: LayerLogits) -> str:
    """The largest score before the softmax, and where it stands."""
    heads = sorted(found.heads)
    bound = "" if found.exact else " at most, for pairs that the kernel may leave out count too"
    where = f"layer {found.layer}, head {found.head} of {len(heads)} (the middle one {heads[len(heads) // 2]:.6g})"
    pair = f"token {found.query} {found.query_token!r} to token {found.key} {found.key_token!r}"
    return f"largest logit {found.largest:.6g}{bound} in {where}, sample {shown(found.sample)}: {pair}"


def _half_words(fp16: HalfRange) -> str:
    largest = grouped(int(FP16_MAX))
    if not fp16.beyond:
        none = f"no observed site exceeds {largest}"
        if fp16.breaks:
            return f"does not fit: run in float16, its predictions are not finite; {none}"
        if fp16.scores and fp16.scores_beyond:
            reach = "reach" if fp16.scores.exact else "may reach"
            return (
                f"does not fit: attention scores of layer {fp16.scores.layer} {reach} {fp16.scores.largest:.6g} before"
                f" they are scaled; {none}"
            )
        words = [f"{none}; {fp16.largest} uses {fp16.share:.2%}"]
        words += [] if fp16.ran is None else [f"run in it, predictions part by {fp16.ran:.2g} nats"]
        words += [] if fp16.scores else ["attention scores unchecked"]
        return "; ".join(words) + (f"; for text without {fp16.narrow}" if fp16.narrow else "")
    more = f" and {len(fp16.beyond) - _NAMED} more" if len(fp16.beyond) > _NAMED else ""
    names = ", ".join(fp16.beyond[:_NAMED])
    return f"does not fit: {counted(len(fp16.beyond), 'site')} above {largest} or not finite: {names}{more}"


def predictions_words(told: Predictions | None) -> str | Text:
    """How well the model predicts text, and which it does not."""
    if told is None:
        return Text(f"unchecked: {_EARLIER}", style="yellow")
    if told.unchecked or not told.tokens:
        return Text(
            f"unchecked: {told.unchecked or 'no sample of the evaluation split has two tokens'}", style="yellow"
        )
    if told.nonfinite:
        where = f"{grouped(told.nonfinite)} of {_many(told.tokens, 'token')}"
        return Text(f"next-token distributions are NaN or infinite at {where}", style="bold red")
    head = (
        f"perplexity {told.perplexity:.4g} on {_many(told.tokens, 'token')}; {told.margin:.2f} nats per token better"
        " than the shares of tokens (the middle of the categories)"
    )
    worse = [f"{one.category} ({one.margin:+.1f})" for one in told.categories if not one.margin > 0]
    return f"{head}, not better on {', '.join(worse)}: text of kinds that it may never have read" if worse else head


def _int8_words(portrait: Portrait) -> str:
    name, error, best = portrait.m.site.name, portrait.int8.max_abs, portrait.int8.optimal
    if portrait.m.nonfinite:
        return f"{name}: no figure, it has non-finite entries"
    return (
        f"{name}, per tensor max_abs: SQNR {error.sqnr_db:.2f} dB, {error.flush_to_zero:.1%} of the non-zero entries"
        f" become zero, {error.levels_used} of 128 levels used; the clip best in calibration, {best.threshold:.4g},"
        f" gives {best.sqnr_db:.2f} dB"
    )


def _massive_words(massive: MassiveLayers | None) -> str:
    if massive is None:
        return "no layer meets the criterion of Sun et al. (|x| > 100 and > 1000 x the token's median)"
    several = f"layers {massive.first} to {massive.last}: {massive.layers} meet the criterion"
    where = several if massive.layers > 1 else f"layer {massive.first} meets the criterion"
    return f"{where} of Sun et al., on up to {_many(massive.tokens, 'token')} ({massive.site})"


def _experts_words(experts: RoutedExperts) -> str | Text:
    if not experts.unreached:
        where = counted(experts.layers, "layer")
        return f"every one of {_many(experts.experts, 'routed expert')} in {where} was given tokens"
    return Text(
        f"no token reached {grouped(experts.unreached)} of {_many(experts.experts, 'routed expert')}; most in"
        f" {experts.most}, {experts.which}",
        style="yellow",
    )


def _halved(batches: int) -> str:
    return counted(batches, "batch", "did not fit and was halved", "did not fit and were halved")


def _many(number: int, noun: str) -> str:
    """Many of something, with a space between thousands."""
    return f"{grouped(number)} {plural(number, noun)}"
