"""The search: it finds what a corpus misses, the same every time, and goes on where it was broken off."""

import json
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import InputError
from pytest_maxact.measure.embedded import rows_of
from pytest_maxact.measure.hunt import search as searching
from pytest_maxact.measure.hunt.hunt import hunt, starts_of
from pytest_maxact.measure.hunt.moves import guesses
from pytest_maxact.measure.hunt.search import Budget, Ground, search
from pytest_maxact.measure.hunt.sight import Sight
from pytest_maxact.measure.hunt.state import State, read_state, write_state
from pytest_maxact.measure.seen import seen_on
from tests.support import effects, rare_pair, tiny
from tests.support.measuring import encoded, loaded

IDS = tuple(range(64))
SITES = ("layers.1.mlp_output", "layers.2.hidden")


def sight_of(model: Any, sites: tuple[str, ...] = SITES) -> Sight:
    return Sight(loaded(model), resolve(model, model.config), sites, 512)


def ground_of(model: Any, starts: tuple[tuple[int, ...], ...] = ((5, 6, 7),), seed: int = 0) -> Ground:
    return Ground(anatomy=resolve(model, model.config), vocabulary=IDS, starts=starts, seed=seed)


def hunted(model: Any, evaluations: int, state: State | None = None, keep: Any = lambda state: None) -> State:
    state = state or State(identity={})
    with sight_of(model).attached() as sight:
        search(sight, ground_of(model), Budget(evaluations=evaluations, used_time=lambda: 0.0), state, keep)
    return state


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny.random_model("qwen3", seed=3)


def test_what_it_sees_of_a_sequence_is_what_plain_hooks_see(model: Any) -> None:
    rows = [(5, 6, 7), (8,), (9, 10, 11)]
    with sight_of(model).attached() as sight:
        seen = sight.heights(rows)
    for row, heights in zip(rows, seen, strict=True):
        found = {}
        with torch.no_grad():
            handles = [
                model.layers[1].mlp.register_forward_hook(
                    lambda m, a, o, found=found: found.update({"layers.1.mlp_output": o.abs().max().item()})
                ),
                model.layers[2].register_forward_hook(
                    lambda m, a, o, found=found: found.update(
                        {"layers.2.hidden": (o[0] if isinstance(o, tuple) else o).abs().max().item()}
                    )
                ),
            ]
            model(input_ids=torch.tensor([row]), use_cache=False)
        for handle in handles:
            handle.remove()
        assert {name: height.value for name, height in heights.items()} == pytest.approx(found, rel=1e-5)


def test_the_gradient_is_that_of_the_largest_entry_and_guesses_follow_it(model: Any) -> None:
    ids, site, step = (5, 9, 13, 21), "layers.2.hidden", 1e-2
    embedding = model.get_input_embeddings().weight
    with sight_of(model, (site,)).attached() as sight:
        before, uphill = sight.heights([ids])[0][site].value, sight.uphill(ids, site)
        assert uphill is not None
        assert not any(parameter.grad is not None for parameter in model.parameters())
        for position, token in enumerate(ids):
            slope, own = float(uphill[position].norm()), embedding[token].detach().clone()
            with torch.no_grad():
                embedding[token] += step * uphill[position] / max(slope, 1e-9)
                gained = sight.heights([ids])[0][site].value - before
                embedding[token] = own
            assert gained == pytest.approx(step * slope, rel=0.1, abs=1e-4)
        rows = partial(rows_of, sight.loaded, resolve(model, model.config))
        gains = [
            float((rows([token])[0] - rows([ids[position]])[0]) @ uphill[position])
            for position, token in guesses(uphill, ids, IDS, rows)
        ]
    assert gains[0] == max(gains)
    assert gains[:20] == sorted(gains[:20], reverse=True)


def test_a_search_of_so_many_evaluations_is_the_same_every_time_and_better_with_more(model: Any) -> None:
    short, again, long = (hunted(model, n) for n in (700, 700, 1500))
    assert short.pools == again.pools
    assert short.evaluations <= 700 + 3
    for site in SITES:
        first = max(find.value for find in hunted(model, 67).pools[site])
        assert long.pools[site][0].value >= short.pools[site][0].value >= first
    assert long.pools[SITES[1]][0].value > first


def test_one_that_was_broken_off_ends_as_if_it_had_not_been(model: Any, tmp_path: Path) -> None:
    kept: list[State] = []

    def keep(state: State) -> None:
        kept.append(deepcopy(state))
        if len(kept) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hunted(model, 1200, keep=keep)
    write_state(kept[-1], tmp_path / "state.json")
    again = read_state(tmp_path / "state.json", {})
    assert again == kept[-1]
    assert hunted(model, 1200, again).pools == hunted(model, 1200).pools


def test_a_pair_that_no_text_has_is_found() -> None:
    model = rare_pair.rare_pair_model(3000.0)
    vocabulary = tiny.word_tokenizer().get_vocab()
    state = hunted(model, 9_000)
    pair = (vocabulary[rare_pair.FIRST], vocabulary[rare_pair.SECOND])
    pool = {find.ids: find for find in state.pools["layers.1.mlp_output"]}
    assert next(iter(pool.values())).value >= 3000 * 0.99, "the first of the two more than once is worse still"
    assert all(set(pair) <= set(ids) for ids in pool)


def test_an_input_that_is_not_finite_ends_it() -> None:
    model = tiny.random_model("llama", seed=5)
    with torch.no_grad():
        model.get_input_embeddings().weight[40] = torch.nan  # type: ignore[operator]
    state = hunted(model, 5000)
    assert state.pools[SITES[0]][0].value == float("inf")
    assert 40 in state.pools[SITES[0]][0].ids
    assert state.evaluations < 5000


def test_one_that_found_what_is_not_finite_tries_nothing_more_where_it_goes_on(model: Any) -> None:
    find = searching.Find(ids=(7,), value=float("inf"), position=0, channel=0, how="search")
    state = State(identity={}, pools={SITES[0]: [find]})
    assert hunted(model, 500, state).evaluations == 0


@pytest.mark.parametrize(("cost", "pairs"), [(0.4 / 64**2, 64**2), (0.6 / 64**2, 512)])
def test_pairs_are_tried_where_half_of_the_time_left_is_enough_by_what_pairs_take(
    model: Any, cost: float, pairs: int
) -> None:
    """A beginning that took long tells nothing of what many at once take; what does not fit is not gone on with."""
    state = State(identity={}, scanned=64, started=1)

    class Clock:
        now = 0.1

        def __call__(self) -> float:
            return self.now

    clock = Clock()

    def keep(state: State) -> None:
        clock.now = 0.1 + cost * state.paired if state.paired < pairs else 1.0

    with sight_of(model).attached() as sight:
        search(sight, ground_of(model), Budget(evaluations=None, used_time=clock), state, keep)
    assert state.paired == pairs


@pytest.mark.parametrize(("site", "says"), [("layers.9.hidden", "no site"), ("layers.1.hiden", "did you mean layers")])
def test_a_site_that_is_not_there_is_refused(model: Any, site: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        sight_of(model, (site,))


def test_inside_routed_experts_there_is_nothing_to_search() -> None:
    model = tiny.random_model("qwen3_moe")
    with pytest.raises(InputError, match="inside routed experts"):
        sight_of(model, ("layers.1.gate",))
    with sight_of(model, ("layers.1.mlp_output", "layers.1.router")).attached() as sight:
        assert sight.heights([(5, 6)])[0].keys() == {"layers.1.mlp_output", "layers.1.router"}


def test_the_state_of_another_search_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_state(path, {"seed": 0}) is None
    write_state(State(identity={"seed": 0, "sites": ["a"]}), path)
    with pytest.raises(InputError, match="they differ in seed"):
        read_state(path, {"seed": 1, "sites": ("a",)})
    path.write_text("{}")
    with pytest.raises(InputError, match="no state of a search"):
        read_state(path, {})


def test_of_a_fused_gate_the_half_is_climbed_that_the_gate_is() -> None:
    model = AutoModel.from_config(AutoConfig.for_model("phi3", **effects.WIDE)).eval()
    fused = model.layers[1].mlp.gate_up_proj
    width = fused.weight.shape[0] // 2
    with torch.no_grad():
        fused.weight[width:] *= 1000
    anatomy, site = resolve(model, model.config), "layers.1.gate"
    taps = [
        replace(tap, module=fused, reads="output", columns=slice(0, width)) if tap.site.name == site else tap
        for tap in anatomy.taps
    ]
    anatomy, sequences = replace(anatomy, taps=tuple(taps)), encoded([5, 3])
    readings = seen_on(loaded(model), anatomy, sequences, 64, tiny.word_tokenizer())
    with Sight(loaded(model), anatomy, (site,), 512).attached() as sight:
        heights = [one[site] for one in sight.heights([sequence.ids for sequence in sequences])]
    assert max(one.value for one in heights) == pytest.approx(readings[site].max_abs, rel=1e-5)
    assert all(one.channel < width for one in heights)


def test_the_context_that_breaks_the_corpus_is_a_start() -> None:
    model = tiny.random_model("llama", seed=5)
    sequences = encoded([5, 9, 3])
    with torch.no_grad():
        model.get_input_embeddings().weight[sequences[1].ids[4]] = torch.nan  # type: ignore[operator]
    readings = seen_on(loaded(model), resolve(model, model.config), sequences, 64, tiny.word_tokenizer())
    first = readings[SITES[1]].first_nonfinite
    assert first is not None
    starts = starts_of(sequences, readings, SITES)
    assert starts[0] == next(sequence.ids for sequence in sequences if sequence.sample.id == first.sample)
    with sight_of(model).attached() as sight:
        assert sight.heights(starts[:1])[0][SITES[1]].value == float("inf")


def test_tokens_that_were_not_tried_do_not_count_as_scanned_and_half_is_left_for_the_gradient(model: Any) -> None:
    state, tried = State(identity={}), []
    with sight_of(model).attached() as sight:
        own = sight.heights
        sight.heights = lambda rows: tried.extend(rows) or own(rows)  # type: ignore[method-assign, func-returns-value]
        search(sight, ground_of(model), Budget(evaluations=60, used_time=lambda: 0.0), state, lambda state: None)
    assert state.scanned == len([row for row in tried if len(row) == 1][: state.scanned]) == 29
    assert state.round > 0
    assert hunted(model, 200, state).scanned == len(IDS), "the tail is tried where there is more to spend"


def test_by_time_half_is_left_for_the_gradient(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "_AT_ONCE", 8)
    state = State(identity={})
    with sight_of(model).attached() as sight:
        budget = Budget(evaluations=None, used_time=lambda: sight.evaluations / 60)
        search(sight, ground_of(model), budget, state, lambda state: None)
    assert 24 <= state.scanned <= 40
    assert state.round > 0


@pytest.mark.parametrize("differing", ["dtype", "arithmetic", "device"])
def test_a_search_in_another_dtype_arithmetic_or_device_is_another_search(
    model: Any, tmp_path: Path, differing: str
) -> None:
    run, anatomy, sequences = loaded(model), resolve(model, model.config), encoded([5, 3])
    path, tokenizer = tmp_path / "state.json", tiny.word_tokenizer()
    readings = seen_on(run, anatomy, sequences, 64, tokenizer)

    def go_on() -> None:
        hunt(
            run, anatomy, tokenizer, sequences, readings, SITES, seed=0, batch_tokens=64, evaluations=20, seconds=None,
            weights="w", arithmetic="native", state_file=path,
        )  # fmt: skip

    go_on()
    go_on()
    state = json.loads(path.read_text())
    assert state["identity"][differing] in ("float32", "native", "cpu")
    state["identity"][differing] = "another"
    path.write_text(json.dumps(state))
    with pytest.raises(InputError, match=f"they differ in {differing}"):
        go_on()
