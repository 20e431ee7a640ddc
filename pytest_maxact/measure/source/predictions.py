"""The predictions of an artifact against its source's, on evaluation samples, and beside them those of the source
against its own under another batching: figures that follow from rounding in another order alone. The artifact runs as
its files say, inputs of linear layers quantized where it is served so.

One model is in memory at a time: of the source its final hidden states stay, which are few, and its head, through which
they go a few rows at a time. So every distribution is compared whole and in float64, and none is kept. Guards that what
is not finite in either has no figure that passes.
"""

import gc
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.locate import Checkpoint, with_weights
from pytest_maxact.checkpoint.placement.placement import Placement
from pytest_maxact.corpus.batches import apart
from pytest_maxact.errors import MaxactError, MeasureError, first_line, setting
from pytest_maxact.measure.arithmetic import computing
from pytest_maxact.measure.effect.effects import HEAD_ROWS, evaluation_samples
from pytest_maxact.measure.effect.headed import Headed, headed_of, load_with_head
from pytest_maxact.measure.effect.served import as_served
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.fresh import Fresh
from pytest_maxact.measure.observe.room import is_out_of_memory
from pytest_maxact.measure.observe.rotary import steady_up_to
from pytest_maxact.measure.source.origin import Origin
from pytest_maxact.measure.source.sums import COLUMNS, compared, departure_of
from pytest_maxact.record.source import Departure
from pytest_maxact.settings.settings import Settings

_PROBED = 8
States = Mapping[str, torch.Tensor]
"""Final hidden states [tokens, width] on the host, by sample."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """A model after its pass: its head, and its final hidden states."""

    headed: Headed
    states: States
    dtypes: frozenset[str]


def compared_predictions(
    checkpoint: Checkpoint, settings: Settings, origin: Origin, sequences: Sequence[corpus.Sequence], alone: bool,
    placement: Placement | None,
) -> tuple[Departure, Departure | None]:  # fmt: skip
    """Of the artifact, and of the source against itself; None where each sample runs alone as it is. `alone`: the model
    lets a token see its batch, so that every sample must. Raises MeasureError.
    """
    chosen = evaluation_samples(sequences)
    budget = 1 if alone else settings.batch_tokens
    with torch.no_grad():
        source = _seen(origin.checkpoint, origin.settings, placement, chosen, budget)
        batched = any(len(batch.sequences) > 1 for batch in _planned(source.headed, chosen, budget))
        again: States = {}
        if batched:
            with computing(settings.arithmetic, source.headed.device, *source.dtypes):
                again = _states(source.headed, chosen, 1)
        _let_go(source.headed)
        noise = _departure(chosen, source, source.headed, again, settings) if batched else None
        artifact = _seen(checkpoint, settings, placement, chosen, budget)
        found = _departure(chosen, source, artifact.headed, artifact.states, settings)
    return found, noise


def _seen(
    checkpoint: Checkpoint, settings: Settings, placement: Placement | None, chosen: Sequence[corpus.Sequence],
    budget: int,
) -> _Seen:  # fmt: skip
    model, device = load_with_head(checkpoint, settings, placement)
    dtypes = frozenset(str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters())
    longest = max(chosen, key=len)
    try:
        with computing(settings.arithmetic, device, *dtypes):
            fresh = Fresh(model)
            headed = headed_of(model, torch.tensor(longest.ids[:_PROBED], device=device), device)
            fresh.restore()
            headed = as_served(headed, checkpoint, with_weights(checkpoint, settings))
            while True:
                try:
                    return _Seen(headed=headed, states=_states(headed, chosen, budget), dtypes=dtypes)
                except Exception as error:
                    if budget == 1 or not is_out_of_memory(error):
                        raise
                    budget = max(1, budget // 2)
                    gc.collect()
    except MaxactError:
        raise
    except Exception as error:
        raise MeasureError(
            f"the forward pass of {checkpoint.name} with its head failed: {type(error).__name__}: {first_line(error)}\n"
            f"  where memory ran out, lower {setting('batch_tokens')} or {setting('max_seq_len')}"
        ) from error


def _planned(headed: Headed, chosen: Sequence[corpus.Sequence], budget: int) -> corpus.BatchPlan:
    plan = corpus.plan_batches(chosen, {sequence.sample.id: "evaluation" for sequence in chosen}, budget)
    return apart(plan, steady_up_to(headed.model))


def _states(headed: Headed, chosen: Sequence[corpus.Sequence], budget: int) -> States:
    found: dict[str, torch.Tensor] = {}
    fresh = Fresh(headed.model)
    for planned in _planned(headed, chosen, budget):
        batch = collate(planned, headed.device)
        fresh.restore()
        states = headed.states(**batch.model_inputs)
        for row, (sequence, start) in enumerate(zip(planned.sequences, batch.starts, strict=True)):
            found[sequence.sample.id] = states[row, start : start + len(sequence)].cpu()
    fresh.restore()
    return found


def _let_go(headed: Headed) -> None:
    """Let the weights of a backbone go, wherever they are held, but those that its head has too."""
    kept = {tensor.data_ptr() for tensor in headed.head if not tensor.is_meta}
    for module in headed.backbone.modules():
        _fetch_no_more(module)
        for parameter in module.parameters(recurse=False):
            if not parameter.is_meta and parameter.data_ptr() not in kept:
                parameter.data = parameter.data.new_empty(0)
    gc.collect()
    if headed.device.type == "cuda":
        torch.cuda.empty_cache()


def _fetch_no_more(module: torch.nn.Module) -> None:
    """Let go of what accelerate holds of a module's weights in the machine's memory, and of fetching them."""
    if not hasattr(module, "_hf_hook"):
        return
    from accelerate.hooks import remove_hook_from_module

    hook: Any = module._hf_hook
    remove_hook_from_module(module)
    for one in getattr(hook, "hooks", (hook,)):
        store = getattr(one, "weights_map", None)
        held = getattr(getattr(store, "dataset", None), "state_dict", {})
        for name, _ in module.named_parameters(recurse=False):
            held.pop(f"{getattr(store, 'prefix', '')}{name}", None)


def _departure(
    chosen: Iterable[corpus.Sequence], source: _Seen, other: Headed, states: States, settings: Settings
) -> Departure:
    """Of `states` through the head of `other`, from those of the source."""
    sums: list[npt.NDArray[np.float64]] = []
    ordered = sorted(chosen, key=lambda sequence: sequence.sample.id)
    with ExitStack() as stack:
        stack.enter_context(computing(settings.arithmetic, source.headed.device, *source.dtypes))
        for sequence in ordered:
            one, another = source.states[sequence.sample.id], states[sequence.sample.id]
            ids = torch.tensor(sequence.ids)
            after = torch.tensor([*sequence.ids[1:], -1])
            total = np.zeros(COLUMNS)
            for start in range(0, len(ids), HEAD_ROWS):
                rows = slice(start, start + HEAD_ROWS)
                log_p = source.headed.log_probabilities(ids[rows], one[rows])
                log_q = other.log_probabilities(ids[rows], another[rows])
                total += compared(log_p, log_q.to(log_p.device), after[rows])
            sums.append(total)
    return departure_of(np.array(sums), [sequence.sample.category for sequence in ordered])
