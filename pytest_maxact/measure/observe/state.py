"""An observer's whole state: all that a pass has gathered so far, as a flat mapping of named entries, each of which
says how it reduces over processes that saw different batches (`reduction`).

To add up parts of one pass: `reduced(state_of(...) for each)`, then `restore` into one of them. What must be seen
first: a static scale is of the whole calibration split, and is taken when evaluation batches are quantized. So where a
scheme needs calibration, every part runs its calibration batches, is given the `scales_of` all of them, and only then
runs evaluation batches; in one process the order of `Observer.run` sees to that.
"""

from collections.abc import Iterable

import torch

from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.reduction import Entry, Held, How, State, grouped, reduced, under, value_of, within

__all__ = ["Entry", "How", "State", "reduced", "restore", "scales_of", "state_of"]

_COUNTS = ("batches", "padded_tokens", "out_of_memory", "kept_apart")
_ALIKE = ("alone", "stride")


def state_of(observer: Observer, told: Held | None = None) -> State:
    """All that an observer has committed, and what is `told` by the predictions of its pass. Tensors may be the
    observer's own: nobody writes to them.
    """
    state: dict[str, Entry] = {
        "sites": Entry(sorted(observer.accumulators), How.EQUAL),
        "tokens": Entry(dict(observer.tokens), How.SUM),
        "shared": Entry({"/".join(key): part for key, part in observer.shared.items()}, How.UNION),
        **{name: Entry(getattr(observer, name), How.SUM) for name in _COUNTS},
        **{name: Entry(getattr(observer, name), How.EQUAL) for name in _ALIKE},
    }
    for site, by_split in observer.traffic.items():
        for split, given in by_split.items():
            state[f"traffic/{site}/{split}"] = Entry(given, How.SUM)
    for prefix, held in _parts(observer, told):
        state |= under(prefix, held.state())
    return state


def restore(observer: Observer, state: State, told: Held | None = None) -> None:
    """Let an observer of the same model hold this, instead of whatever it holds. Raises MeasureError for the state of
    another model.
    """
    if value_of(state, "sites", None) != sorted(observer.accumulators):
        raise MeasureError("what was kept of a pass is of other sites than this model has\n  measure it anew")
    observer.tokens = dict(value_of(state, "tokens", {}))
    observer.shared = {_pair(name): part for name, part in value_of(state, "shared", {}).items()}
    for name in (*_COUNTS, *_ALIKE):
        setattr(observer, name, state[name].value)
    observer.traffic = {site: {} for site in observer.traffic}
    for name, entry in within("traffic", state).items():
        site, split = _pair(name)
        observer.traffic[site][split] = entry.value.clone()
    groups = grouped(state)
    sites = grouped(groups["site"])
    for prefix, held in _parts(observer, told):
        first, _, site = prefix.partition("/")
        held.restore(sites.get(site, {}) if site else groups.get(first, {}))


def scales_of(states: Iterable[State]) -> dict[tuple[str, str], torch.Tensor]:
    """The largest magnitude of every channel that any of several saw in calibration, by site and part: what each of
    them is given in `Fidelity.channels` before it sees the evaluation split.
    """
    channels = reduced(within("fidelity/channels", state) for state in states)
    return {_pair(name): entry.value for name, entry in channels.items()}


def _parts(observer: Observer, told: Held | None) -> Iterable[tuple[str, Held]]:
    yield from ((f"site/{name}", accumulator) for name, accumulator in observer.accumulators.items())
    yield "maxima", observer.maxima
    yield "losses", observer.losses
    yield from observer.gatherers
    if told is not None:
        yield "told", told


def _pair(name: str) -> tuple[str, str]:
    one, _, other = name.partition("/")
    return one, other
