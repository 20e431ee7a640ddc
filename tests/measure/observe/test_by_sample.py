"""Energies of every sample under schemes: what plain hooks see of that sample alone, whatever the batch."""

from typing import Any

import numpy as np
import pytest
import torch

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.by_sample import SIGNAL, BySample
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.numbers.schemes import SCHEMES
from tests.support.low_bits import model_of
from tests.support.measuring import encoded
from tests.support.plain_sums import LENGTHS, SPLITS, observed, seen_of, wanted_of

NAMES = ("W8A8", "W8A8_STATIC", "FP8_DYNAMIC")
EVALUATED = sorted(name for name, split in SPLITS.items() if split == "evaluation")


def test_every_sample_has_the_energies_that_plain_hooks_see_of_it_however_it_is_batched() -> None:
    calibration = {name: split for name, split in SPLITS.items() if split == "calibration"}
    for model_type in ("qwen3", "deepseek_v3"):
        for batch_tokens in (1, 40):
            observer = observed(model_of(model_type), encoded(LENGTHS), batch_tokens, NAMES)
            for site in ("layers.1.qkv_in", "layers.1.mlp_in", "layers.1.down_in"):
                found = observer.fidelity.samples.of(site, NAMES)
                assert found is not None
                for place, sample in enumerate(EVALUATED):
                    for name in NAMES:
                        splits = {**calibration, sample: "evaluation"}
                        wanted = wanted_of(seen_of(model_type), site, name, splits).sums
                        assert found[SIGNAL][place] == pytest.approx(wanted["signal"], rel=1e-4)
                        assert found[name][place] == pytest.approx(wanted["error"], rel=1e-3), (site, sample, name)


@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe"])
def test_samples_have_together_what_the_site_has(model_type: str) -> None:
    observer = observed(model_of(model_type), encoded(LENGTHS), 40, NAMES)
    told = 0
    for (site, name), sums in observer.fidelity.sums.items():
        found = observer.fidelity.samples.of(site, [name])
        assert found is not None
        assert len(found[name]) == len(EVALUATED)
        assert found[SIGNAL].sum() == pytest.approx(sums.signal, rel=1e-12)
        assert found[name].sum() == pytest.approx(sums.error, rel=1e-12)
        told += 1
    assert told


def batch_of(split: str = "evaluation") -> Any:
    return collate(PlannedBatch(split=split, sequences=tuple(encoded([3, 2]))), torch.device("cpu"))


def test_rows_go_to_their_sequences_and_a_batch_that_is_left_leaves_nothing() -> None:
    kept = BySample(["x"], ["W8A8"])
    energies, sequences = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64), torch.tensor([1, 0, 1])
    kept.stage("x", SIGNAL, energies, sequences, 2)
    kept.rollback()
    kept.stage("x", SIGNAL, energies, sequences, 2)
    kept.stage("x", "W8A8", energies / 4, sequences, 2)
    kept.stage("x", "W8A8", energies / 4, sequences, 2)
    kept.commit(batch_of())
    found = kept.of("x", ["W8A8"])
    assert found is not None
    assert found[SIGNAL].tolist() == [2.0, 5.0]
    assert found["W8A8"].tolist() == [1.0, 2.5]


def test_of_a_sample_without_sampled_rows_there_is_no_energy_and_of_calibration_nothing() -> None:
    kept = BySample(["x"], ["W8A8"])
    kept.commit(batch_of("calibration"))
    assert kept.of("x", ["W8A8"]) is None
    kept.commit(batch_of())
    found = kept.of("x", ["W8A8"])
    assert found is not None
    assert np.array_equal(found["W8A8"], [0.0, 0.0])


@pytest.mark.parametrize(("sequences", "energy"), [([0, -1], 1.0), ([0, 1], float("inf")), ([0, 1], float("nan"))])
def test_nothing_is_told_of_a_site_whose_rows_are_hidden_or_not_finite(sequences: list[int], energy: float) -> None:
    kept = BySample(["x", "y"], ["W8A8"])
    for site, where, one in (("x", torch.tensor(sequences), energy), ("y", torch.tensor([0, 1]), 1.0)):
        kept.stage(site, SIGNAL, torch.tensor([1.0, one], dtype=torch.float64), where, 2)
    kept.commit(batch_of())
    assert kept.of("x", ["W8A8"]) is None
    assert kept.of("y", ["W8A8"]) is not None


def test_many_batches_leave_little_on_their_devices_and_all_samples_in_order() -> None:
    kept, sequences = BySample(["x"], ["W8A8"]), encoded([2] * 90)
    for place, sequence in reversed(list(enumerate(sequences))):
        kept.stage("x", SIGNAL, torch.tensor([float(place + 1)], dtype=torch.float64), torch.tensor([0]), 1)
        kept.commit(collate(PlannedBatch(split="evaluation", sequences=(sequence,)), torch.device("cpu")))
        assert len(kept._given) <= 32
    wanted = [place + 1.0 for place in sorted(range(90), key=lambda place: sequences[place].sample.id)]
    again = BySample(["x"], ["W8A8"])
    again.commit(batch_of())
    again.restore(kept.state())
    for one in (kept, again):
        found = one.of("x", ["W8A8"])
        assert found is not None
        assert found[SIGNAL].tolist() == wanted


def test_none_are_kept_where_nothing_of_samples_is_asked_for() -> None:
    model = model_of("qwen3")
    for maxima in (True, False):
        observer = Observer(model, resolve(model, model.config, True), [SCHEMES["W8A8"]], maxima=maxima)
        with observer.attached():
            observer.run([PlannedBatch(split="evaluation", sequences=tuple(encoded([6, 3])))], torch.device("cpu"))
        assert (observer.fidelity.samples.of("layers.1.down_in", ["W8A8"]) is not None) is maxima
