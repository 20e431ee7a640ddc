"""What parts of a pass saw reduces, whatever the parts and their order, to what a single pass over the same batches
holds; and an observer that is given a state goes on as the one that had it.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy, vocabulary
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import BatchPlan
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.reduction import Entry, How
from pytest_maxact.measure.observe.scores import Scores
from pytest_maxact.measure.observe.state import State, reduced, restore, scales_of, state_of
from pytest_maxact.measure.predict import Predicting, predicting
from pytest_maxact.measure.readings import readings
from pytest_maxact.numbers.schemes import SCHEMES
from tests.support import tiny
from tests.support.effects import headed
from tests.support.measuring import encoded

LENGTHS = [9, 14, 5, 17, 11, 7, 13, 6, 12, 10, 15, 8, 9, 4, 16]
SCHEMES_RUN = [SCHEMES[name] for name in ("W8A8", "FP8", "NVFP4", "FP16")]
BROKEN_TOKEN = 7


@dataclass
class Pass:
    """An observer and what listens to it, not yet run."""

    observer: Observer
    told: Predicting

    @property
    def state(self) -> State:
        return state_of(self.observer, self.told)

    def see(self, plan: BatchPlan) -> "Pass":
        with self.observer.attached():
            self.observer.run(plan, torch.device("cpu"))
        return self


class Subject:
    """A small model, what a single pass over its batches saw, and what parts of one batch each did."""

    def __init__(self, model: Any) -> None:
        self.sequences = encoded(LENGTHS)
        self.loaded = LoadedModel(
            model=model.base_model, decoder=decoder_of(model), dtype="", device=torch.device("cpu"), files=None,
            left_out=(), headed=model,
        )  # fmt: skip
        self.anatomy: Anatomy = resolve(model.base_model, model.config, True, attention=True)
        splits = corpus.assign_splits([sequence.sample for sequence in self.sequences])
        self.plan = sorted(corpus.plan_batches(self.sequences, splits, 30), key=lambda batch: batch.split)
        self.whole = self.fresh().see(self.plan)
        self.whole.observer.finish()
        calibrated = [self.fresh().see([batch]).state for batch in self.plan if batch.split == "calibration"]
        evaluated = [self.fresh() for batch in self.plan if batch.split == "evaluation"]
        for part, batch in zip(evaluated, self.plan[len(calibrated) :], strict=True):
            part.observer.fidelity.channels.update(scales_of(calibrated))
            part.see([batch])
        self.parts = [*calibrated, *(part.state for part in evaluated)]

    def fresh(self) -> Pass:
        told, _ = predicting(self.loaded, self.sequences, vocabulary(self.anatomy))
        assert told is not None
        return Pass(Observer(self.loaded.decoder, self.anatomy, SCHEMES_RUN, told.see, Scores()), told)


def made(name: str) -> Any:
    if name == "experts":
        return headed("qwen3_moe", num_experts=4, num_experts_per_tok=2)
    model = headed("qwen3", dtype=torch.bfloat16)
    if name == "broken":
        with torch.no_grad():
            model.get_input_embeddings().weight[BROKEN_TOKEN, 3] = float("inf")
    return model


@pytest.fixture(scope="module", params=["dense", "experts", "broken"])
def subject(request: pytest.FixtureRequest) -> Subject:
    return Subject(made(request.param))


def agree(one: State, other: State, exactly: bool = False) -> None:
    """Raise where two states differ in more than the rounding of sums of squares. What INT-8 costs samples is told by a
    single pass alone, and by one that goes on.
    """
    if not exactly:
        one, other = ({name: entry for name, entry in state.items() if not name.startswith("losses/")}
                      for state in (one, other))  # fmt: skip
    assert one.keys() == other.keys()
    for name, entry in one.items():
        mine, theirs = entry.value, other[name].value
        if not isinstance(mine, torch.Tensor):
            assert json.dumps(mine, sort_keys=True) == json.dumps(theirs, sort_keys=True), name
        elif mine.is_floating_point():
            rel = 1e-12 if name.endswith("/numbers") and not exactly else 0.0
            assert torch.allclose(mine, theirs, rtol=rel, atol=0.0, equal_nan=True), name
        else:
            assert torch.equal(mine, theirs), name


def shared_out(parts: Sequence[State], seed: int) -> list[list[State]]:
    """The parts in any order, in so many hands that some may hold none."""
    draw = random.Random(seed)
    hands: list[list[State]] = [[] for _ in range(draw.randint(1, len(parts)))]
    for part in draw.sample(list(parts), len(parts)):
        draw.choice(hands).append(part)
    return hands


@given(seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_parts_in_any_hands_and_order_reduce_to_the_single_pass(subject: Subject, seed: int) -> None:
    hands = [reduced(hand) for hand in shared_out(subject.parts, seed)]
    nothing_seen = subject.fresh().state
    agree(reduced([*(hand or nothing_seen for hand in hands)]), subject.whole.state)


def test_the_subjects_show_what_is_to_be_reduced(subject: Subject) -> None:
    """More than one batch of each split, equal peaks, scores, predictions; experts, and entries that are not finite."""
    state, observer = subject.whole.state, subject.whole.observer
    assert all(sum(batch.split == split for batch in subject.plan) > 1 for split in ("calibration", "evaluation"))
    assert observer.padded_tokens > 0
    assert state["scores/largest"].value
    assert subject.whole.told.result().tokens > 50
    broken = bool(state["site/layers.0.hidden/nonfinite"].value)
    assert broken == bool(subject.whole.told.result().nonfinite)
    ranked = [[abs(peak.value) for peak in seen.peaks] for seen in observer.accumulators.values()]
    assert any(len(set(values)) < len(values) for values in ranked)
    assert {entry.how for entry in state.values()} == set(How)
    assert {name for _, name in observer.fidelity.sums} == {"W8A8", "FP8", "NVFP4"}


def test_a_state_restored_is_read_as_what_it_was_of(subject: Subject) -> None:
    again = subject.fresh()
    restore(again.observer, subject.whole.state, again.told)
    agree(again.state, subject.whole.state, exactly=True)
    again.observer.finish()
    tokenizer = tiny.word_tokenizer()
    one, other = (readings(each.observer, tokenizer) for each in (subject.whole, again))
    assert repr(one) == repr(other)
    assert again.told.result() == subject.whole.told.result()
    assert again.observer.scores
    assert subject.whole.observer.scores
    assert again.observer.scores.layers == subject.whole.observer.scores.layers


def test_an_observer_goes_on_from_a_state_to_the_same_bits_and_leaves_the_state_alone(subject: Subject) -> None:
    first = subject.fresh()
    agree(first.see(subject.plan[:4]).state, subject.fresh().see(subject.plan[:4]).state, exactly=True)
    kept = first.state
    before = {name: str(entry.value) for name, entry in kept.items()}
    second = subject.fresh()
    restore(second.observer, kept, second.told)
    alone = second.observer.kept_apart
    second.see(subject.plan[4:])
    second.observer.kept_apart += alone
    agree(second.state, subject.whole.state, exactly=True)
    assert {name: str(entry.value) for name, entry in kept.items()} == before


def test_a_state_of_other_sites_is_refused(subject: Subject) -> None:
    state = {**subject.whole.state, "sites": Entry(["layers.0.hidden"], How.EQUAL)}
    with pytest.raises(MeasureError, match="other sites than this model has"):
        restore(subject.fresh().observer, state)
    with pytest.raises(MeasureError, match=r"^sites: .* in one part of the pass and "):
        reduced([subject.whole.state, state])
