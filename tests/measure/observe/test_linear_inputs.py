"""The inputs of linear layers in every architecture of the zoo: nothing left unread in silence, maxima of plain hooks,
no trace of padding.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytest
from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.samples import assign_splits
from pytest_maxact.errors import InputError
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.run import observe
from pytest_maxact.numbers.sites import LINEAR_KINDS
from tests.support.measuring import dense, encoded, loaded, within_one_step
from tests.support.zoo.configs import TYPES, build
from tests.support.zoo.linears import is_router, matrices_of, plain_inputs

MEASURED = [name for name in TYPES if name != "dbrx"]
SEQUENCES = encoded((7, 12, 3), vocabulary=128)
SPLITS = assign_splits([sequence.sample for sequence in SEQUENCES])
LEAKING = {"cpmant", "doge"}
PADDED = 64
"""Tokens of a batch that holds every sequence."""


class Subject:
    """One architecture, its passes, and what plain hooks see of it; each computed when it is first asked for."""

    def __init__(self, model_type: str) -> None:
        self.model_type = model_type
        self.model: Any = build(model_type)
        self.anatomy: Anatomy = resolve(self.model, self.model.config, True)

    def observed(self, anatomy: Anatomy, batch_tokens: int) -> Observer:
        return observe(loaded(self.model), anatomy, SEQUENCES, batch_tokens)

    @cached_property
    def padded(self) -> Observer:
        return self.observed(self.anatomy, PADDED)

    @cached_property
    def single(self) -> Observer:
        return self.observed(self.anatomy, 1)

    @property
    def layers(self) -> Iterator[tuple[int, str, nn.Module]]:
        """Number, path and module of what makes up each layer; XLM has no module for a layer."""
        for tap in self.anatomy.taps:
            if tap.site.kind == "hidden":
                assert tap.site.layer is not None
                if self.model_type == "xlm":
                    for path in (f"transformer.attentions.{tap.site.layer}", f"transformer.ffns.{tap.site.layer}"):
                        yield tap.site.layer, path, self.model.get_submodule(path)
                else:
                    yield tap.site.layer, tap.site.module, tap.module

    def unread(self, path: str) -> bool:
        """Whether a matrix below a layer is one that the anatomy says it leaves out, by its place or by a part of its
        name.
        """
        names = [
            entry.what.removeprefix("layers.*.")
            for entry in self.anatomy.left_out
            if entry.what.startswith("layers.*.")
        ]
        return any(f"{path}.".startswith(f"{name}.") or name in path.split(".") for name in names)


@pytest.fixture(scope="module", params=MEASURED)
def subject(request: pytest.FixtureRequest) -> Subject:
    return Subject(request.param)


def test_every_matrix_below_a_layer_is_read_once_or_is_said_not_to_be(subject: Subject) -> None:
    paths = {id(module): name for name, module in subject.model.named_modules()}
    expected: dict[int, set[str]] = defaultdict(set)
    for number, _, layer in subject.layers:
        for weight in matrices_of(layer):
            if not is_router(subject.model_type, weight) and not subject.unread(weight):
                owner, _, name = weight.rpartition(".")
                expected[number].add(f"{paths[id(layer.get_submodule(owner))]}.{name}")
    read: dict[int, Counter[str]] = defaultdict(Counter)
    for tap in subject.anatomy.linears:
        assert tap.site.kind in LINEAR_KINDS
        assert tap.weights
        assert tap.site.layer is not None
        read[tap.site.layer].update(tap.weights)
    assert {number: set(weights) for number, weights in read.items()} == expected
    assert {count for weights in read.values() for count in weights.values()} <= {1}


def test_maxima_are_those_of_plain_hooks_on_every_linear_layer(subject: Subject) -> None:
    observer, linears = subject.padded, subject.anatomy.linears
    assert observer.alone == (subject.model_type in LEAKING)
    assert observer.alone or observer.padded_tokens > 0
    uses: dict[str, list[int]] = defaultdict(list)
    for tap in linears:
        for weight in tap.weights:
            uses[weight].append(tap.site.layer or 0)

    def given(split: str) -> dict[tuple[str, str], set[float]]:
        """What the weights of each part of a site are given in a split: one maximum, where its taps are right that it
        is one tensor.
        """
        rows = [sequence.ids for sequence in SEQUENCES if SPLITS[sequence.sample.id] == split]
        calls, found = plain_inputs(subject.model, subject.model_type, set(uses), rows), defaultdict(set)
        assert set(calls) == set(uses)
        for tap in linears:
            part = observer.shared.get((tap.site.name, tap.part), tap.part)
            for weight in tap.weights:
                layers = sorted(uses[weight])
                assert len(layers) in (1, len(calls[weight]))
                # A module that several layers share is called once by each, in their order.
                seen = calls[weight] if len(layers) == 1 else [calls[weight][layers.index(tap.site.layer or 0)]]
                found[tap.site.name, part].add(max(seen))
        return found

    calibration, evaluation = given("calibration"), given("evaluation")
    assert set(observer.fidelity.channels) == set(calibration)
    for key, channels in observer.fidelity.channels.items():
        assert [channels.max().item()] * len(calibration[key]) == pytest.approx(
            sorted(calibration[key]), rel=1e-4, abs=1e-7
        ), key
    expected: dict[str, float] = {}
    for (site, _), values in (*calibration.items(), *evaluation.items()):
        expected[site] = max(expected.get(site, 0.0), *values)
    found = {
        site.name: abs(observer.accumulators[site.name].peaks[0].value)
        for site in subject.anatomy.sites
        if site.is_linear_input
    }
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_padding_changes_no_count(subject: Subject) -> None:
    single, padded = dense(subject.single), dense(subject.padded)
    assert subject.single.padded_tokens == 0
    for name, counts in padded.items():
        assert counts.sum() == single[name].sum(), name
        assert within_one_step(counts, single[name]), name


def test_what_the_paper_reads_is_the_same_without_the_linear_inputs(subject: Subject) -> None:
    plain = subject.observed(resolve(subject.model, subject.model.config), PADDED)
    papers = [site.name for site in subject.anatomy.sites if not site.is_linear_input]
    assert [site.name for site in plain.anatomy.sites] == papers
    for name in papers:
        without, beside = plain.accumulators[name], subject.padded.accumulators[name]
        assert without.peaks == beside.peaks, name
        assert without.massive == beside.massive
        for split in ("calibration", "evaluation"):
            assert (without.dense_counts(split) == beside.dense_counts(split)).all(), name
    assert {
        site: {split: given.tolist() for split, given in splits.items()} for site, splits in plain.traffic.items()
    } == {
        site: {split: given.tolist() for split, given in splits.items()}
        for site, splits in subject.padded.traffic.items()
    }


@pytest.mark.skipif("dbrx" not in TYPES, reason="this release of transformers has no dbrx")
def test_experts_in_flat_matrices_are_refused_and_their_papers_sites_are_not() -> None:
    model: Any = build("dbrx")
    assert not any(site.is_linear_input for site in resolve(model, model.config).sites)
    with pytest.raises(InputError, match=r"transformer\.blocks\.0\.ffn\.experts \(DbrxExperts\)") as refused:
        resolve(model, model.config, True)
    assert re.search(r"could be the last projection", str(refused.value))
    assert len(str(refused.value).splitlines()) <= 3
