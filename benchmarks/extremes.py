"""What a tenth of the text says of the maximum of all of it, beside what all of it then had.

    python benchmarks/extremes.py MODEL...              # measures: the built-in text in pieces of 300 characters
    python benchmarks/extremes.py --records RECORD...   # of Records that keep their samples

The samples are put into tenths by a seed, categories in proportion. Every tenth is fitted, its tail is carried on to
ten times its samples, and the whole is what was measured: of M, and of every site. The tenths overlap in nothing, but
all of them are held against one whole.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pytest_maxact.corpus.samples import builtin_samples
from pytest_maxact.judge.trust.ahead import ahead_of, largest_of_all
from pytest_maxact.judge.trust.carries import carried, entries_of
from pytest_maxact.judge.trust.trust import maxima_of
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.tails import Tail
from pytest_maxact.record.file import load
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings

TIMES, CHARACTERS, TOKENS = 10, 300, 64


@dataclass(slots=True)
class Score:
    """Of fits of one kind: how many told nothing and why, how many held what was measured, and how far it was off."""

    refused: Counter[str] = field(default_factory=Counter)
    inside: int = 0
    below: int = 0
    above: int = 0
    off: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)

    def add(self, tail: Tail, measured: float) -> None:
        if tail.refused:
            self.refused[" ".join(word for word in tail.refused.split() if not word[0].isdigit())] += 1
            return
        ahead = next(one for one in tail.ahead if one.times == TIMES)
        self.inside += ahead.low <= measured <= ahead.high
        self.below += measured < ahead.low
        self.above += measured > ahead.high
        self.off.append(measured / ahead.expected)
        self.widths.append(ahead.high / ahead.low)

    @property
    def line(self) -> str:
        told = self.inside + self.below + self.above
        if not told:
            return f"none of {self.refused.total()} told"
        low, middle, high = np.quantile(self.off, (0.05, 0.5, 0.95))
        return (
            f"{told} of {told + self.refused.total()} told, {self.inside / told:.1%} hold it ({self.above} too low, "
            f"{self.below} too high); measured over expected {middle:.3f} ({low:.2f} to {high:.2f}); "
            f"upper over lower end {np.median(self.widths):.2f}"
        )


def tenths(record: Record, seed: int) -> Iterator[list[int]]:
    """Places of samples, ten times about a tenth of every category."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(record.provenance.samples))
    by_category = sorted(order.tolist(), key=lambda place: record.provenance.samples[place][1])
    for first in range(TIMES):
        yield sorted(by_category[first::TIMES])


def told(record: Record, found: SampleMaxima, dtype: str, places: Sequence[int]) -> Tail:
    categories = [record.provenance.samples[place][1] for place in places]
    part = found.ordered(places)
    return ahead_of(part.magnitudes, dtype, carried(entries_of(part, categories, record.token_texts or {})))


def compare(record: Record, seed: int) -> None:
    known = maxima_of(record)
    counted = [name for name, reading in record.sites.items() if reading.site.counted]
    of_m, carrier = largest_of_all({name: known[name] for name in counted})
    print(f"{record.provenance.model}: {len(record.provenance.samples)} samples, {record.tokens} tokens")
    parts = list(tenths(record, seed))
    score, dtype = Score(), record[carrier].dtype
    for places in parts:
        tail = told(record, of_m, dtype, places)
        score.add(tail, float(of_m.magnitudes.max()))
        if places is parts[0]:
            words = tail.refused or ", ".join(
                f"{one.times} times: {one.expected:.6g}, {one.low:.6g} to {one.high:.6g}" for one in tail.ahead
            )
            had = float(of_m.magnitudes[places].max())
            print(f"  M, the first tenth: had {had:.6g}; {words}; measured {of_m.magnitudes.max():.6g}")
    print(f"  M: {score.line}")
    for what, names in (("counted sites", counted), ("all sites", list(known))):
        score = Score()
        for name in names:
            for places in parts:
                tail = told(record, known[name], record[name].dtype, places)
                score.add(tail, float(known[name].magnitudes.max()))
        print(f"  {what}: {score.line}")
    for why, times in score.refused.most_common():
        print(f"    {times} times not told: {why}")


def measured(model: str) -> Record:
    from pytest_maxact.measure.prepare import prepare
    from pytest_maxact.measure.run import measure

    with TemporaryDirectory() as folder:
        corpus = Path(folder) / "pieces.jsonl"
        corpus.write_text("".join(json.dumps(piece) + "\n" for piece in pieces()), encoding="utf-8")
        settings = Settings(model=model, corpus=str(corpus), max_seq_len=TOKENS, batch_tokens=4096, family="generic")
        return measure(prepare(settings), settings, "generic")


def pieces() -> Iterator[dict[str, str]]:
    for sample in builtin_samples():
        text = sample.text or ""
        for start in range(0, len(text) - CHARACTERS // 2, CHARACTERS):
            name = f"{sample.id}-{start // CHARACTERS}"
            yield {"id": name, "category": sample.category, "text": text[start : start + CHARACTERS]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="+")
    parser.add_argument("--records", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for subject in options.subjects:
        compare(load(subject) if options.records else measured(subject), options.seed)


if __name__ == "__main__":
    main()
