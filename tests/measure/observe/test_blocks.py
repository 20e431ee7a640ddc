"""The largest score of every head, and its place, against scores that are formed whole, entry by entry."""

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from pytest_maxact.measure.observe.attention import Attended
from pytest_maxact.measure.observe.blocks import largest_scores

HEADS, SHARED, WIDTH, LENGTH = 4, 2, 8, 11
MASKS = ("none", "pairs", "pairs of each head", "never", "adds", "adds to each head", "none attends")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scale": {"scaling": 0.3},
    "negative scale": {"scaling": -0.3},
    "no scale": {"scaling": 0.0},
    "softcap": {"softcap": 2.0, "scaling": 1.0},
    "window": {"sliding_window": 3},
    "both ways": {"is_causal": False},
    "bias": {"position_bias": torch.randn(1, HEADS, LENGTH, LENGTH, generator=torch.Generator().manual_seed(5))},
}


class Causal(nn.Module):
    is_causal = True


def mask_of(kind: str, seed: torch.Generator) -> torch.Tensor | None:
    each = HEADS if "each head" in kind else 1
    attends = torch.rand(2, each, LENGTH, LENGTH, generator=seed) < 0.6
    attends[:, :, 2] = kind != "none attends" and attends[:, :, 2]
    if kind == "none":
        return None
    if kind == "none attends":
        attends[1] = False
    if kind.startswith("adds"):
        added = torch.randn(attends.shape, generator=seed) * 3
        return added.masked_fill(~attends, torch.finfo(torch.float32).min)
    return torch.zeros(attends.shape).masked_fill(~attends, -torch.inf) if kind == "never" else attends


def whole(call: Attended, sequence: int, rows: slice, columns: slice) -> torch.Tensor:
    """Scores [H, T, S] of all pairs, -inf where they do not attend or are not asked for."""
    query, key = call.query[sequence].float(), call.key[sequence].float()
    scores = query @ key.repeat_interleave(HEADS // SHARED, 0).transpose(1, 2)
    scores = scores * call.options.get("scaling", WIDTH**-0.5)
    if cap := call.options.get("softcap"):
        scores = torch.tanh(scores / cap) * cap
    scores = scores + call.options.get("position_bias", torch.zeros(1, 1, 1, 1))[0]
    places, keys = torch.arange(query.shape[1])[:, None] + key.shape[1] - query.shape[1], torch.arange(key.shape[1])
    if call.mask is None:
        near = keys > places - call.options.get("sliding_window", LENGTH)
        attends = (near & ((keys <= places) | (call.options.get("is_causal") is False)))[None]
    else:
        mine = call.mask[sequence]
        attends = mine if mine.dtype == torch.bool else mine > torch.finfo(torch.float32).min / 2
        scores = scores if mine.dtype == torch.bool else scores + mine.clamp(min=-1e30)
    asked = torch.zeros(query.shape[1], key.shape[1], dtype=torch.bool)
    asked[rows, columns] = True
    return scores.masked_fill(~(attends & asked), -torch.inf)


def hold(call: Attended, sequence: int, rows: slice, columns: slice) -> None:
    found, place = largest_scores(call, sequence, rows, columns)
    scores = whole(call, sequence, rows, columns)
    expected = scores.flatten(1).amax(1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    if expected.isfinite().any():
        pair, head = divmod(int(place), HEADS)
        query, key = divmod(pair, call.key.shape[2])
        assert scores[head, query, key] == pytest.approx(float(expected.max()), rel=1e-5, abs=1e-6)


def call_of(mask: str, options: str, seed: int = 0) -> Attended:
    draws = torch.Generator().manual_seed(seed)
    query = torch.randn(2, HEADS, LENGTH, WIDTH, generator=draws)
    key = torch.randn(2, SHARED, LENGTH, WIDTH, generator=draws)
    return Attended(
        module=Causal(), query=query, key=key, value=key, mask=mask_of(mask, draws), options=OPTIONS[options]
    )


@pytest.mark.parametrize("block", [1, 50, 1 << 20])
@pytest.mark.parametrize(("mask", "options"), list(itertools.product(MASKS, OPTIONS)))
def test_the_largest_scores_are_those_of_scores_formed_whole(
    mask: str, options: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_maxact.measure.observe.blocks._BLOCK", block)
    call = call_of(mask, options)
    for sequence, (rows, columns) in itertools.product(
        (0, 1), [(slice(0, LENGTH),) * 2, (slice(4, LENGTH),) * 2, (slice(0, 5),) * 2, (slice(3, 8), slice(0, LENGTH))]
    ):
        hold(call, sequence, rows, columns)


@pytest.mark.parametrize("mask", MASKS)
def test_more_queries_than_a_block_has_and_fewer_than_keys(mask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_maxact.measure.observe.blocks._ROWS", 3)
    for seed in range(8):
        hold(call_of(mask, "plain", seed), seed % 2, slice(0, LENGTH), slice(0, LENGTH))


def test_a_score_that_is_no_number_is_the_largest_of_its_head_and_told() -> None:
    call = call_of("none", "plain")
    call.query[0, 2, 6, 3] = torch.nan
    heads, place = largest_scores(call, 0, slice(0, LENGTH), slice(0, LENGTH))
    assert heads.isnan().tolist() == [False, False, True, False]
    pair, head = divmod(int(place), HEADS)
    assert (head, pair // LENGTH) == (2, 6)


def test_what_no_query_attends_to_is_not_seen() -> None:
    call = call_of("none", "plain")
    call.key[0, :, LENGTH - 1] = 1e6
    call.query[0, :, LENGTH - 1] = 0.0
    heads, _ = largest_scores(call, 0, slice(0, LENGTH), slice(0, LENGTH))
    assert float(heads.max()) < 100.0
