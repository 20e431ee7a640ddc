"""What a scheme does to predictions: evaluation samples through the whole model, head included, as it is and with its
linear layers quantized.

Quantization is simulated in place: the input of a linear layer, and its weight while it runs, become what the scheme
restores of them. Routers, embeddings, norms and the LM head stay as they are; FP16 and BF16 cast every tensor. The LM
head sees a few rows at a time.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.heads import has_head
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.placement.placement import Placement
from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import BatchPlan, apart
from pytest_maxact.errors import InputError, MaxactError, MeasureError, first_line, setting
from pytest_maxact.measure.arithmetic import computing
from pytest_maxact.measure.effect.around import around, linear_of
from pytest_maxact.measure.effect.by_sample import sums_by_sample
from pytest_maxact.measure.effect.casting import casting
from pytest_maxact.measure.effect.headed import Headed, headed_of, load_with_head
from pytest_maxact.measure.effect.mending import by_contribution, culprit, linear_layer
from pytest_maxact.measure.observe.batch import Batch, collate
from pytest_maxact.measure.observe.fresh import Fresh
from pytest_maxact.measure.observe.room import is_out_of_memory
from pytest_maxact.measure.observe.rotary import steady_up_to
from pytest_maxact.numbers.schemes import Scheme
from pytest_maxact.record.effect import UNDONE, Effect
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.settings.settings import Settings

EFFECT_TOKENS = 8192
"""About so many tokens of the evaluation split are predicted from."""
HEAD_ROWS = 128
"""So many tokens at most are in the head at once."""
_PROBED = 8
SEARCH_TOKENS = 1024
"""About so many tokens are predicted from at every step of a search for the linear layer that breaks predictions."""
Holds = Callable[[Effect], bool]
Around = Callable[[Batch], AbstractContextManager[object]]


def require_head(checkpoint: Checkpoint) -> None:
    """Raise InputError for a checkpoint whose config is not that of a causal language model; loads no weights."""
    if not has_head(checkpoint):
        raise InputError(
            f"{checkpoint.name} ({checkpoint.config.model_type}) has no next-token distribution that transformers can "
            "build, on which the effect of a scheme is measured\n"
            f"  leave out {setting('effect')} and {setting('deploy')}; {setting('schemes')} reports without it"
        )


def measure_effects(
    checkpoint: Checkpoint, settings: Settings, schemes: Sequence[Scheme], readings: Mapping[str, SiteReading],
    sequences: Sequence[corpus.Sequence], kept: Mapping[str, Collection[str]] = {}, alone: bool = False,
    beside: Sequence[corpus.Sequence] = (), mend: Mapping[str, Holds] = {}, placement: Placement | None = None,
) -> dict[str, Effect]:  # fmt: skip
    """The effect of each scheme on the predictions of a checkpoint, whose weights are loaded with their head, by the
    scheme's name.

    `readings` of its Record give the calibration maxima, which static schemes need. `kept`: per scheme, the sites whose
    linear layers stay in 16 bits. `alone`: each sequence runs alone, as a model that lets a token see its batch must.
    `beside`: samples as they are deployed, all of which are predicted from too. `placement`: where the model lives.
    `mend`: per scheme, whether an effect
    is within bounds; where its own is not, the linear layer is looked for that breaks predictions, and its effect with
    that alone in 16 bits is given as `W8A8 undone`.
    Raises InputError for a model without a next-token distribution and for a site in `kept` that it does not have,
    MeasureError where it could not be measured in full.
    """
    require_head(checkpoint)
    chosen = [*evaluation_samples(sequences), *beside]
    longest = max(chosen, key=len)
    budget = 1 if alone else settings.batch_tokens
    while True:
        # loaded again after memory ran out: what was being put back then may be lost
        model, device = load_with_head(checkpoint, settings, placement)
        anatomy = resolve(model, checkpoint.config, linear_inputs=True, attention=any(one.cache for one in schemes))
        taps = anatomy.taps
        _refuse_unknown(schemes, taps, kept)
        plan = corpus.plan_batches(chosen, {sequence.sample.id: "evaluation" for sequence in chosen}, budget)
        plan = apart(plan, steady_up_to(model))
        try:
            with torch.no_grad(), computing(settings.arithmetic, device, *_dtypes(model, schemes)):
                fresh = Fresh(model)
                headed = headed_of(model, torch.tensor(longest.ids[:_PROBED], device=device), device)
                fresh.restore()
                found = _effects(headed, schemes, taps, readings, plan, kept)
                for scheme in schemes:
                    if scheme.name in mend and not mend[scheme.name](found[scheme.name]) and _is_mendable(scheme):
                        found[scheme.name + UNDONE] = _mended(headed, scheme, taps, readings, plan, mend[scheme.name])
                return found
        except MaxactError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                raise MeasureError(
                    f"the forward pass of {checkpoint.name} with its head failed: {type(error).__name__}:"
                    f" {first_line(error)}"
                ) from error
        if max(len(batch.sequences) for batch in plan) == 1:
            raise MeasureError(
                f"out of memory on one sample and the head, at most {len(longest)} tokens\n"
                f"  lower {setting('max_seq_len')}, or use a device with more memory"
            )
        budget //= 2
        del model, taps
        if device.type == "cuda":
            torch.cuda.empty_cache()


def evaluation_samples(sequences: Sequence[corpus.Sequence]) -> list[corpus.Sequence]:
    """Whole samples of the evaluation split, `EFFECT_TOKENS` tokens or little more: one of each category in turn, in
    the order of their ids.
    """
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    groups: dict[str, list[corpus.Sequence]] = {}
    for sequence in sorted(sequences, key=lambda sequence: sequence.sample.id):
        if splits[sequence.sample.id] == "evaluation":
            groups.setdefault(sequence.sample.category, []).append(sequence)
    turns = [(turn, category, sequence) for category, group in groups.items() for turn, sequence in enumerate(group)]
    chosen: list[corpus.Sequence] = []
    for _, _, sequence in sorted(turns, key=lambda entry: entry[:2]):
        if sum(map(len, chosen)) >= EFFECT_TOKENS:
            break
        chosen.append(sequence)
    return chosen


def _dtypes(model: torch.nn.Module, schemes: Iterable[Scheme]) -> set[str]:
    """What a model computes in, as it is and under schemes."""
    own = {str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()}
    return own | {scheme.cast for scheme in schemes if scheme.cast}


def _is_mendable(scheme: Scheme) -> bool:
    """Whether linear layers may stay in 16 bits under it."""
    return not scheme.cast and bool(scheme.activations or scheme.weights)


def _refuse_unknown(schemes: Iterable[Scheme], taps: Iterable[Tap], kept: Mapping[str, Collection[str]]) -> None:
    taps = linear_of(taps)
    known = {tap.site.name for tap in taps} | {linear_layer(tap) for tap in taps}
    for scheme in schemes:
        wanted = kept.get(scheme.name, ())
        if scheme.cast and wanted:
            raise InputError(
                f"{scheme.name} casts every tensor, and no site can stay as it is\n  keep no site under {scheme.name}"
            )
        if unknown := sorted(set(wanted) - known):
            raise InputError(
                f"{unknown[0]} is to stay in 16 bits under {scheme.name}, and is no input of linear layers of this"
                " model"
            )


def _mended(
    headed: Headed, scheme: Scheme, taps: Sequence[Tap], readings: Mapping[str, SiteReading], plan: BatchPlan,
    holds: Holds,
) -> Effect:  # fmt: skip
    """With the linear layer alone in 16 bits that breaks predictions, as far as there is one; looked for on fewer
    tokens, and told on all.
    """
    few = _shortest(plan)
    base = _final_states(headed, few, nullcontext)

    def effect(names: Collection[str], plan: BatchPlan = few, base: torch.Tensor | None = base) -> Effect:
        return _effects(headed, [scheme], taps, readings, plan, {scheme.name: names}, base)[scheme.name]

    found = culprit(by_contribution(linear_of(taps), readings, scheme.name), effect, holds)
    return effect([found], plan, None)


def _shortest(plan: BatchPlan) -> BatchPlan:
    """The shortest sequences of a plan, `SEARCH_TOKENS` tokens or little more, in batches as they were."""
    left, chosen = SEARCH_TOKENS, set()
    for sequence in sorted((s for batch in plan for s in batch.sequences), key=lambda s: (len(s), s.sample.id)):
        if left <= 0:
            break
        chosen.add(sequence.sample.id)
        left -= len(sequence)
    batches = [replace(b, sequences=tuple(s for s in b.sequences if s.sample.id in chosen)) for b in plan]
    return [batch for batch in batches if batch.sequences]


def _effects(
    headed: Headed,
    schemes: Sequence[Scheme],
    taps: Sequence[Tap],
    readings: Mapping[str, SiteReading],
    plan: BatchPlan,
    kept: Mapping[str, Collection[str]],
    base: torch.Tensor | None = None,
) -> dict[str, Effect]:
    """`base`: final hidden states of the model itself, where they are known already."""
    model = headed.model
    base, states = _final_states(headed, plan, nullcontext) if base is None else base, {}
    for scheme in schemes:
        simulated = around(headed.model, scheme, taps, readings, kept.get(scheme.name, ()))
        with casting(model, scheme.cast, aside=True):
            states[scheme.name] = _final_states(headed, plan, simulated)
    sequences = [sequence for batch in plan for sequence in batch.sequences]
    ids = torch.tensor([token for sequence in sequences for token in sequence.ids])
    targets = torch.tensor([token for sequence in sequences for token in (*sequence.ids[1:], -1)])
    figures: dict[str, list[torch.Tensor]] = {scheme.name: [] for scheme in schemes}
    for start in range(0, len(ids), HEAD_ROWS):
        rows = slice(start, start + HEAD_ROWS)
        log_p = headed.log_probabilities(ids[rows], base[rows])
        for scheme in schemes:
            with casting(model, scheme.cast, headed.head):
                log_q = headed.log_probabilities(ids[rows], states[scheme.name][rows])
            figures[scheme.name].append(_compared(log_p, log_q, targets[rows]))
    order = list(dict.fromkeys(name for tap in linear_of(taps) for name in (tap.site.name, linear_layer(tap))))
    return {
        scheme.name: _effect(
            scheme.name, torch.cat(figures[scheme.name], 1), targets >= 0, sequences,
            kept=tuple(sorted(set(kept.get(scheme.name, ())), key=order.index)),
        )
        for scheme in schemes
    }  # fmt: skip


def _final_states(headed: Headed, plan: BatchPlan, around: Around) -> torch.Tensor:
    """The final hidden states of every token of a plan, [tokens, width] on the host; `around` each batch, which meets
    the model as it is now.
    """
    found, fresh = [], Fresh(headed.model)
    for planned in plan:
        batch = collate(planned, headed.device)
        fresh.restore()
        with around(batch):
            found.append(headed.states(**batch.model_inputs).flatten(0, 1)[batch.real].cpu())
    fresh.restore()
    return torch.cat(found)


def _compared(log_p: torch.Tensor, log_q: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Figures of log-probabilities [tokens, vocabulary], of the model itself and under a scheme: float64 [4, tokens] on
    the host.

    KL(p || q); 1 where the most likely token stays; the surprise in nats at the token `targets` (anything where it is
    -1), of p and of q.
    """
    p = log_p.exp()
    divergence = torch.where(p == 0, 0.0, p * (log_p - log_q)).sum(1).clamp(min=0)
    stays = (log_p.argmax(1) == log_q.argmax(1)) & ~divergence.isnan()
    places = targets.clamp(min=0).to(p.device)[:, None]
    return torch.stack([divergence, stays.double(), *(-x.gather(1, places).squeeze(1) for x in (log_p, log_q))]).cpu()


def _effect(
    name: str, figures: torch.Tensor, predicted: torch.Tensor, sequences: Sequence[corpus.Sequence],
    kept: tuple[str, ...],
) -> Effect:  # fmt: skip
    """From the figures [4, tokens] of `_compared`; NaN in one of them is NaN in what follows."""
    divergence, stays, surprise, surprise_under = figures.numpy()
    tokens = len(divergence)
    rank = -(-99 * tokens // 100) - 1
    own, other = (
        float(x[predicted.numpy()].mean()) if predicted.any() else math.nan for x in (surprise, surprise_under)
    )
    with np.errstate(over="ignore", invalid="ignore"):
        return Effect(
            scheme=name,
            samples=len(sequences),
            tokens=tokens,
            mean_kl=float(divergence.mean()),
            kl_q99=math.nan if np.isnan(divergence).any() else float(np.sort(divergence)[rank]),
            top1_agreement=float(stays.mean()),
            perplexity=float(np.exp(own)),
            perplexity_ratio=float(np.exp(np.float64(other) - own)),
            kept=kept,
            by_sample=sums_by_sample(figures.numpy(), predicted.numpy(), sequences),
        )
