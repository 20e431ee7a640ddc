"""The same few samples under other conditions: a loaded model and its corpus in, how far every site's figures move out.

Other batches, another number of threads, another implementation of attention, another device: all that a sound model
may not depend on, and a little does. Guards that a difference between two checkpoints is held against what the
measurement itself gives for one.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.corpus.batches import BatchPlan
from pytest_maxact.errors import MaxactError, first_line
from pytest_maxact.measure.arithmetic import computing
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.readings import readings
from pytest_maxact.numbers.distance import distance
from pytest_maxact.numbers.noise import Noise, Spread
from pytest_maxact.numbers.ratio import ratio
from pytest_maxact.numbers.schemes import Scheme
from pytest_maxact.record.metrics.metric import INT8_SQNR, Metric, scheme_metric
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.settings.settings import Settings

_AGAIN = "as before"
_ATTENTION = ("eager", "sdpa")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Condition:
    """Under which the samples run once more; `around` makes it so for the time of the pass."""

    name: str
    plan: BatchPlan
    device: torch.device
    around: Callable[[], AbstractContextManager[None]] = nullcontext


def repeated(prepared: Prepared, settings: Settings, loaded: LoadedModel, anatomy: Anatomy) -> Noise:
    """Measure `settings.repeat` samples, drawn in the proportions of their categories, as the corpus was measured, and
    again under every other condition there is.

    A condition that this model refuses is left out by name. Raises MeasureError where the first pass fails, which the
    corpus did not.
    """
    assert settings.repeat
    chosen = _chosen(prepared.whole, settings.repeat, settings.seed)
    splits = corpus.assign_splits([sequence.sample for sequence in chosen])
    base, conditions = _conditions(chosen, splits, loaded, settings)
    read = _Reading(loaded=loaded, anatomy=anatomy, schemes=prepared.schemes, tokenizer=prepared.tokenizer)
    first = read.under(base)
    spreads = {name: Spread() for name in first}
    met, left_out = list[str](), list[str]()
    for condition in conditions:
        try:
            again = read.under(condition)
        except (MaxactError, ValueError, ImportError, RuntimeError) as error:
            left_out.append(f"{condition.name} ({first_line(error)})")
            continue
        met.append(condition.name)
        spreads = {
            name: known.widened(spread_of(first[name], again[name], prepared.schemes))
            for name, known in spreads.items()
        }
    return Noise(
        samples=len(chosen), tokens=sum(map(len, chosen)), conditions=tuple(met), sites=spreads,
        left_out=tuple(left_out),
    )  # fmt: skip


def spread_of(one: SiteReading, other: SiteReading, schemes: Sequence[Scheme] = ()) -> Spread:
    """How far two readings of one site by one model lie apart."""
    if one.nonfinite or other.nonfinite:
        alike = one.nonfinite == other.nonfinite
        return Spread() if alike else Spread(max_abs=math.inf, shift=math.inf, sqnr_db=math.inf)
    low, high = sorted((one.max_abs, other.max_abs))
    metrics = [INT8_SQNR] if one.has_both_splits and other.has_both_splits else []
    metrics += [scheme_metric(s.name, "sqnr_db") for s in schemes if s.activations and one.site.is_linear_input]
    return Spread(
        max_abs=ratio(low, high) - 1,
        shift=distance(one.histogram, other.histogram),
        sqnr_db=max((_apart(one, other, metric) for metric in metrics), default=0.0),
    )


def _apart(one: SiteReading, other: SiteReading, metric: Metric) -> float:
    first, second = metric_value(one, metric), metric_value(other, metric)
    return 0.0 if first == second or (math.isnan(first) and math.isnan(second)) else abs(first - second)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What is read of a model, whatever the condition."""

    loaded: LoadedModel
    anatomy: Anatomy
    schemes: Sequence[Scheme]
    tokenizer: Any

    def under(self, condition: _Condition) -> Mapping[str, SiteReading]:
        with condition.around():
            observer = Observer(self.loaded.decoder, self.anatomy, self.schemes, maxima=False)
            with observer.attached():
                observer.run(condition.plan, condition.device)
        observer.finish()
        return readings(observer, self.tokenizer)


def _chosen(sequences: Sequence[corpus.Sequence], count: int, seed: int) -> list[corpus.Sequence]:
    drawn = {sample.id for sample in corpus.subset([sequence.sample for sequence in sequences], max(count, 2), seed)}
    return [sequence for sequence in sequences if sequence.sample.id in drawn]


def _conditions(
    chosen: Sequence[corpus.Sequence], splits: Mapping[str, str], loaded: LoadedModel, settings: Settings
) -> tuple[_Condition, list[_Condition]]:
    """As the corpus was measured, and all others."""
    base = _Condition(
        name=_AGAIN, plan=corpus.plan_batches(chosen, splits, settings.batch_tokens), device=loaded.device
    )
    longest = max(map(len, chosen))
    budgets = {
        "each sample alone": 1,
        "batches of two": 2 * longest,
        "larger batches": max(2 * settings.batch_tokens, 4 * longest),
    }
    plans, others = [base.plan], [base]
    for name, budget in budgets.items():
        plan = corpus.plan_batches(chosen, splits, budget)
        if plan not in plans:
            plans.append(plan)
            others.append(replace(base, name=name, plan=plan))
    if loaded.device.type == "cpu":
        threads = 1 if torch.get_num_threads() > 1 else 2
        if threads <= (os.cpu_count() or 1):
            name = f"{threads} thread{'s' if threads > 1 else ''}"
            others.append(replace(base, name=name, around=partial(_threads, threads)))
    model = _attending(loaded)
    now = str(getattr(getattr(model, "config", None), "_attn_implementation", None))
    others += [
        replace(base, name=f"{other} attention", around=partial(_attention, model, other))
        for other in _ATTENTION
        if now in _ATTENTION and other != now
    ]
    if loaded.device.type == "cuda" and _lives_on(loaded, loaded.device):
        cpu = torch.device("cpu")
        others.append(
            replace(base, name="on the CPU", device=cpu, around=partial(_moved, loaded, cpu, settings.arithmetic))
        )
    return base, others


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _attending(loaded: LoadedModel) -> Any:
    """The outermost module whose implementation of attention can be chosen."""
    return next((one for one in (loaded.model, loaded.decoder) if hasattr(one, "set_attn_implementation")), None)


@contextmanager
def _attention(model: Any, implementation: str) -> Iterator[None]:
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation(implementation)
        yield
    finally:
        model.set_attn_implementation(before)


def _lives_on(loaded: LoadedModel, device: torch.device) -> bool:
    """Whether the whole model does, and nothing moves parts of it about."""
    still = not any(hasattr(module, "_hf_hook") for module in loaded.model.modules())
    return still and all(tensor.device == device for tensor in loaded.model.parameters())


@contextmanager
def _moved(loaded: LoadedModel, device: torch.device, arithmetic: str) -> Iterator[None]:
    home = loaded.device
    try:
        loaded.model.to(device)
        with computing(arithmetic, device, loaded.dtype):
            yield
    finally:
        loaded.model.to(home)
