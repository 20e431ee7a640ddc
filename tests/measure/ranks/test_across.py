"""What ranks saw of some channels each adds up to what one process sees of all of them, to the bit."""

from dataclasses import replace

import pytest
import torch

from pytest_maxact.corpus.batches import plan_batches
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.accumulate import SiteAccumulator
from pytest_maxact.measure.observe.batch import Batch, collate
from pytest_maxact.measure.observe.logits import Logits
from pytest_maxact.measure.observe.maxima import Maxima
from pytest_maxact.measure.observe.reduction import Entry, How, State, under, value_of
from pytest_maxact.measure.observe.rowwork import in_place
from pytest_maxact.measure.ranks.across import across
from pytest_maxact.record.logits import LayerLogits
from tests.support.measuring import encoded

SITE, WIDTH = "layers.0.gate", 12


def batch() -> Batch:
    sequences = encoded([5, 9])
    (planned,) = plan_batches(sequences, {one.sample.id: "evaluation" for one in sequences}, 64)
    return collate(planned, torch.device("cpu"))


def seen(tensors: dict[str, torch.Tensor], name: str = SITE) -> State:
    """The state of a site that was given a tensor [rows, width] of every part."""
    maxima = Maxima([name])
    accumulator, given = SiteAccumulator(name, massive=False, maxima=maxima), batch()
    for part, values in tensors.items():
        accumulator.observe(values, given.padding, in_place, part, given.shape)
    accumulator.commit(given)
    sites = {"sites": Entry([name], How.EQUAL), "tokens": Entry({"evaluation": 14}, How.SUM)}
    return {**sites, **under(f"site/{name}", accumulator.state()), **under("maxima", maxima.state())}


def plain(state: State) -> dict[str, str]:
    """As text, in which NaN is NaN."""
    return {
        name: repr(entry.value.tolist() if isinstance(entry.value, torch.Tensor) else entry.value)
        for name, entry in state.items()
    }


def values(seed: int = 0, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(batch().rows, width, generator=torch.Generator().manual_seed(seed)).bfloat16()


@pytest.mark.parametrize("cuts", [[6, 6], [4, 4, 4], [10, 2], [1, 11]], ids=str)
@pytest.mark.parametrize("broken", [False, True], ids=["finite", "not finite"])
def test_channels_of_all_ranks_are_those_of_the_whole(cuts: list[int], broken: bool) -> None:
    whole = values()
    if broken:
        whole[3, 11] = whole[7, 0] = torch.inf
    shares = whole.split(cuts, dim=1)
    joined = across([seen({"up": share}) for share in shares], {(SITE, "up"): WIDTH})
    assert plain(joined) == plain(seen({"up": whole}))


def test_of_equal_entries_of_a_sample_the_earliest_and_lowest_is_kept_whoever_saw_it() -> None:
    whole = torch.ones(batch().rows, WIDTH).bfloat16()
    whole[1, 9] = whole[2, 1] = -3.0
    joined = across([seen({"up": share}) for share in whole.split([6, 6], dim=1)], {(SITE, "up"): WIDTH})
    assert plain(joined) == plain(seen({"up": whole}))


def test_of_several_parts_that_ranks_share_no_sample_is_told() -> None:
    one, other = values(), values(1)
    states = [
        seen({"gate": gate, "up": up}) for gate, up in zip(one.split(6, dim=1), other.split(6, dim=1), strict=True)
    ]
    joined = across(states, {(SITE, "gate"): WIDTH, (SITE, "up"): WIDTH})
    assert joined["maxima/s00"].value.isnan().all()


def test_what_every_rank_holds_whole_counts_once() -> None:
    whole = values()
    joined = across([seen({"": whole}), seen({"": whole})], {(SITE, ""): WIDTH})
    assert plain(joined) == plain(seen({"": whole}))


def test_sums_that_are_not_added_up_yet_are_not_taken_for_whole() -> None:
    part = values(1)
    with pytest.raises(MeasureError, match="ranks 0 and 1 saw different values"):
        across([seen({"": part}), seen({"": values() - part})], {(SITE, ""): WIDTH})


def test_channels_that_no_rank_saw_are_missed() -> None:
    one, other = values().split([6, 6], dim=1)
    with pytest.raises(MeasureError, match=r"gate \(up\): ranks saw 6 \+ 5 channels of 12"):
        across([seen({"up": one}), seen({"up": other[:, 1:]})], {(SITE, "up"): WIDTH})


def test_a_width_that_is_not_known_is_refused() -> None:
    with pytest.raises(MeasureError, match="channels of an unknown number"):
        across([seen({"": values()}), seen({"": values()})], {})


def test_parts_that_ranks_share_and_parts_that_each_holds_are_not_mixed_up() -> None:
    shared, whole = values().split([6, 6], dim=1), values(2)
    states = [seen({"experts": share, "shared": whole}) for share in shared]
    with pytest.raises(MeasureError, match="ranks share the channels of experts and hold those of shared whole"):
        across(states, {(SITE, "experts"): WIDTH, (SITE, "shared"): WIDTH})


@pytest.mark.parametrize("name", ["tokens", "site/layers.0.gate/rows", "traffic/layers.0.router/evaluation"])
def test_ranks_that_ran_other_tokens_are_refused(name: str) -> None:
    state = seen({"": values()}) | {"traffic/layers.0.router/evaluation": Entry(torch.tensor([3, 4]), How.SUM)}
    value = state[name].value
    other = value + 1 if isinstance(value, torch.Tensor) else {key: count + 1 for key, count in value.items()}
    with pytest.raises(MeasureError, match="differ in the"):
        across([state, {**state, name: replace(state[name], value=other)}], {(SITE, ""): WIDTH})


def test_heads_of_all_ranks_stand_side_by_side_with_the_place_of_the_largest() -> None:
    def found(heads: tuple[float, ...], head: int) -> State:
        logits = Logits()
        logits.layers = (
            LayerLogits(layer=0, heads=heads, head=head, sample="s00", query=3, key=1, query_id=5, key_id=6),
        )
        return under("logits", logits.state())

    site = "layers.0.q"
    states = [
        {**seen({"": share}, site), **found(heads, head)}
        for share, heads, head in zip(values().split([6, 6], dim=1), ((1.0, 2.0), (7.0, 3.0)), (1, 0), strict=True)
    ]
    joined = across(states, {(site, ""): WIDTH})
    assert value_of(joined, "logits/heads/0/", None).tolist() == [1.0, 2.0, 7.0, 3.0]
    assert value_of(joined, "logits/place/0/", None)[4] == 2
