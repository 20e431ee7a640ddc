"""What a Record keeps of every sample: stored and read back as it was, added up over parts, and held to the site's own
figures.
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.record.by_sample import packed_maxima, unpacked_maxima
from pytest_maxact.record.file import load, save
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.merge import merge
from pytest_maxact.record.packing import squeezed
from pytest_maxact.record.record import Record
from pytest_maxact.record.sound.maxima import require_sound_peaks
from pytest_maxact.record.sound.record import require_sound
from pytest_maxact.record.spoken import kept_texts
from pytest_maxact.record.summary import summary
from tests.support import tiny
from tests.support.measuring import record_of

SITE = "layers.1.hidden"
EARLIER = Path(__file__).parents[1] / "data" / "maxima" / "earlier.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, list[Record]]:
    """A whole, and the parts of it."""
    folder = tmp_path_factory.mktemp("by-sample")
    model = tiny.save(folder / "model", tiny.random_model("qwen3"))
    corpus = tiny.write_corpus(folder / "corpus.jsonl", tiny.sentences([9, 14, 5, 17, 11, 7, 13, 6]))
    whole = record_of(model, corpus, batch_tokens=64)
    return whole, [record_of(model, corpus, batch_tokens=64, shard=f"{k}/2") for k in (2, 1)]


def maxima(record: Record, site: str = SITE) -> SampleMaxima:
    held = record[site].held
    assert isinstance(held, Distributions)
    assert held.maxima is not None
    return held.maxima


def test_what_is_stored_is_read_back_to_the_bit() -> None:
    generator = np.random.default_rng(0)
    kinds = ["hidden", "gate", "hidden", "gate", "hidden"]
    found = [
        SampleMaxima(
            generator.normal(0, 1e4, 7).astype(np.float32), generator.integers(-1, 1 << 20, 7).astype(np.int32),
            generator.integers(0, 1 << 17, 7).astype(np.int32),
        )
        for _ in kinds
    ]  # fmt: skip
    streams = packed_maxima(list(zip(kinds, found, strict=True)))
    assert unpacked_maxima(kinds, 7, streams) == found
    assert packed_maxima([]) == {}


bits = st.integers(0, (1 << 32) - 1)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(bits, st.integers(-1, (1 << 31) - 2), st.integers(0, (1 << 31) - 1)), max_size=24))
def test_any_bits_positions_and_channels_come_back(entries: list[tuple[int, int, int]]) -> None:
    samples = len(entries) // 4
    table = np.array(entries[: 4 * samples], np.int64).reshape(4, samples, 3)
    found = [
        SampleMaxima(
            row[:, 0].astype(np.uint32).view(np.float32), row[:, 1].astype(np.int32), row[:, 2].astype(np.int32),
            (row[:, 1] // 2).astype(np.int32),
        )
        for row in table
    ]  # fmt: skip
    kinds = ["hidden", "gate", "hidden", "hidden"]
    again = unpacked_maxima(kinds, samples, packed_maxima(list(zip(kinds, found, strict=True))))
    for one, other in zip(again, found, strict=True):
        assert one.values.tobytes() == other.values.tobytes()
        assert one.positions.tolist() == other.positions.tolist()
        assert one.channels.tolist() == other.channels.tolist()


def test_what_an_earlier_version_stored_is_read() -> None:
    with safe_open(EARLIER, framework="numpy") as file:
        streams = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        kinds = json.loads(file.metadata()["kinds"])
    tables = [streams.pop(f"was.{name}") for name in ("values", "positions", "channels", "tokens")]
    found = [SampleMaxima(*rows) for rows in zip(*tables, strict=True)]
    assert unpacked_maxima(kinds, len(found[0]), streams) == found
    again = packed_maxima(list(zip(kinds, found, strict=True)))
    assert unpacked_maxima(kinds, len(found[0]), again) == found
    assert not streams.keys() & again.keys()


def near(spread: float, samples: int = 400) -> list[tuple[str, SampleMaxima]]:
    """Sites whose magnitudes lie as near to each other as those of real ones, three channels of which have them."""
    generator = np.random.default_rng(1)
    made = []
    for _ in range(8):
        values = generator.normal(1.0, spread, samples) * generator.choice([-1, 1], samples)
        exact = torch.tensor(values).to(torch.bfloat16).to(torch.float32).numpy()
        nothing = np.zeros(samples, np.int32)
        made.append(("hidden", SampleMaxima(exact, nothing, generator.choice([5, 90, 700], samples).astype(np.int32))))
    return made


@pytest.mark.parametrize(("spread", "bytes_of_each"), [(0.05, 1.3), (0.2, 1.6)])
def test_what_lies_near_takes_little_more_than_it_tells(spread: float, bytes_of_each: float) -> None:
    """Of a spread of 5 % bfloat16 tells some five bits of a magnitude, and a channel of three with its sign 2.6."""
    found = near(spread)
    assert sum(stream.size for stream in packed_maxima(found).values()) < bytes_of_each * 8 * 400


def test_streams_that_contradict_each_other_are_refused() -> None:
    found = near(0.05)
    kinds = [kind for kind, _ in found]
    streams = packed_maxima(found)
    for name, values in {
        "samples.coarse": np.full(8, 40), "samples.carriers": np.full(8, 1), "samples.ranks": np.full(3200, 9),
        "samples.carried": np.ones(8), "samples.positions": np.full(3200, 1 << 31),
        "samples.middles": np.full(8, 1 << 17),
    }.items():  # fmt: skip
        kept = {key: stream for key, stream in streams.items() if not key.startswith(f"{name}.")}
        with pytest.raises(ValueError, match=r"maxima of samples: |were expected"):
            unpacked_maxima(kinds, 400, kept | squeezed(name, values.astype(np.uint32)))
    with pytest.raises(ValueError, match=r"cannot hold|were expected"):
        unpacked_maxima(kinds, 1 << 26, streams)


def test_a_record_keeps_them_and_its_file_gives_them_back(made: tuple[Record, list[Record]], tmp_path: Path) -> None:
    whole, _ = made
    save(whole, tmp_path / "record.safetensors")
    again = load(tmp_path / "record.safetensors")
    for name, reading in whole.sites.items():
        assert len(maxima(whole, name)) == len(whole.provenance.samples)
        assert maxima(again, name) == maxima(whole, name)
        assert maxima(whole, name).magnitudes.max() == reading.finite_max


def test_parts_in_any_order_give_the_samples_of_the_whole(made: tuple[Record, list[Record]]) -> None:
    whole, parts = made
    merged = merge(parts)
    assert merged.provenance.samples == whole.provenance.samples
    for name in whole.sites:
        assert maxima(merged, name) == maxima(whole, name)


def test_one_part_of_an_earlier_version_leaves_none(made: tuple[Record, list[Record]]) -> None:
    _, (one, other) = made
    old = replace(one, sites={n: replace(r, held=replace(r.held, maxima=None)) for n, r in one.sites.items()})
    held = merge([old, other])[SITE].held
    assert isinstance(held, Distributions)
    assert held.maxima is None
    require_sound(old)


def test_a_summary_drops_them(made: tuple[Record, list[Record]]) -> None:
    assert not hasattr(summary(made[0])[SITE].held, "maxima")


def lowered(found: SampleMaxima) -> SampleMaxima:
    return replace(found, values=found.values * np.float32(0.5))


def one_lowered(found: SampleMaxima) -> SampleMaxima:
    values = found.values.copy()
    values[np.abs(values).argmax()] *= np.float32(0.5)
    return replace(found, values=values)


def moved(found: SampleMaxima) -> SampleMaxima:
    positions = found.positions.copy()
    place = np.abs(found.values).argmax()
    positions[place] = 0 if positions[place] else 1
    return replace(found, positions=positions)


def exchanged(found: SampleMaxima) -> SampleMaxima:
    order = np.roll(np.arange(len(found)), 1)
    return found.ordered(order.tolist())


DOCTORED: dict[str, Callable[[SampleMaxima], SampleMaxima]] = {
    "lowered": lowered,
    "one lowered": one_lowered,
    "moved": moved,
    "of other samples": exchanged,
    "raised": lambda found: replace(found, values=found.values * np.float32(2.0)),
    "not finite": lambda found: replace(found, values=np.full_like(found.values, np.inf)),
    "beyond the text": lambda found: replace(found, positions=found.positions + np.int32(10000)),
    "beyond the width": lambda found: replace(found, channels=found.channels + np.int32(10000)),
    "one too few": lambda found: found.ordered(range(len(found) - 1)),
}


@pytest.mark.parametrize("how", DOCTORED)
def test_what_the_site_does_not_bear_out_is_refused(made: tuple[Record, list[Record]], how: str) -> None:
    whole, _ = made
    reading = whole[SITE]
    held = replace(reading.held, maxima=DOCTORED[how](maxima(whole)))
    doctored = replace(whole, sites={**whole.sites, SITE: replace(reading, held=held)})
    with pytest.raises(ValueError, match=rf"{SITE}: maxima: "):
        require_sound(doctored)


@pytest.mark.parametrize(("kept", "position", "sound"), [(10, 0, True), (10, 8, False), (4, 0, False), (4, 4, True)])
def test_of_many_equals_the_earliest_may_be_none_of_the_peaks(kept: int, position: int, sound: bool) -> None:
    """Inside experts rows come in another order; ten of one size may all lie behind the maximum, of either sign."""
    peaks = tuple(
        Peak(value=4.0, sample="s", position=4 + place, token="", token_id=1, channel=0, part="routed")
        for place in range(kept)
    )
    found = SampleMaxima(np.array([-4.0], np.float32), np.array([position], np.int32), np.array([1], np.int32))
    with nullcontext() if sound else pytest.raises(ValueError, match=r"where its peak is 4\.0 at 4"):
        require_sound_peaks(found, peaks, ["s"])


def test_the_token_of_every_maximum_is_kept_with_what_it_says(made: tuple[Record, list[Record]]) -> None:
    whole, parts = made
    assert whole.token_texts
    for reading in whole.sites.values():
        peak, found = reading.peaks[0], maxima(whole, reading.site.name)
        place = [name for name, *_ in whole.provenance.samples].index(peak.sample)
        assert found.tokens is not None
        assert (found.positions[place], found.tokens[place]) == (peak.position, peak.token_id)
        assert whole.token_texts[str(peak.token_id)] == peak.token
    assert merge(parts).token_texts == whole.token_texts
    assert summary(whole).token_texts is None


def test_a_token_that_is_not_told_of_is_refused_and_one_that_is_not_its_peak_s(
    made: tuple[Record, list[Record]],
) -> None:
    whole, _ = made
    with pytest.raises(ValueError, match=r"token_texts: \d+ is not told of"):
        require_sound(replace(whole, token_texts={}))
    found = maxima(whole)
    assert found.tokens is not None
    held = replace(whole[SITE].held, maxima=replace(found, tokens=found.tokens + np.int32(1)))
    with pytest.raises(ValueError, match="has another token at"):
        require_sound(replace(whole, sites={**whole.sites, SITE: replace(whole[SITE], held=held)}))


def test_tokens_are_read_back_and_a_table_without_them_too() -> None:
    positions = [np.array(row, np.int32) for row in ([0, 3, -1], [3, 3, -1], [0, 1, -1])]
    ids = {(0, 0): 7, (0, 3): 0, (1, 3): 9, (1, 1): 4}
    found = [
        SampleMaxima(
            np.array([1.0, 2.0, 0.0], np.float32), row, np.zeros(3, np.int32),
            np.array([ids.get((place, at), -1) for place, at in enumerate(row.tolist())], np.int32),
        )
        for row in positions
    ]  # fmt: skip
    kinds = ["hidden", "gate", "hidden"]
    assert unpacked_maxima(kinds, 3, packed_maxima(list(zip(kinds, found, strict=True)))) == found
    bare = [replace(one, tokens=None) for one in found]
    assert unpacked_maxima(kinds, 3, packed_maxima(list(zip(kinds, bare, strict=True)))) == bare


def test_of_other_tokens_it_is_told_only_what_stands_for_itself(made: tuple[Record, list[Record]]) -> None:
    whole, _ = made
    assert whole.token_texts
    more = {"999997": "word", "999998": ".", "999999": "<s>", **whole.token_texts}
    assert kept_texts(whole.sites.values(), more) == {**whole.token_texts, "999998": ".", "999999": "<s>"}
