"""A Record tells what stands around the tokens at which entries sat: as the text has it, a little of it, and alike
whatever way it was measured.
"""

from pathlib import Path
from typing import Any

from pytest_maxact.corpus.samples import read_jsonl
from pytest_maxact.measure.around import AFTER, BEFORE, around
from pytest_maxact.numbers.peaks import AROUND_KEPT, Around
from pytest_maxact.record.file import load, save
from pytest_maxact.record.summary import summary
from tests.support.measuring import record_of


class _Bytes:
    """A tokenizer of which every token is a byte, so that characters lie in several."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return bytes(ids).decode("utf-8", "replace")


def of(text: str, position: int) -> Around:
    return around(list(text.encode()), position, _Bytes())


def test_it_is_the_text_before_and_after_with_its_blanks() -> None:
    assert of("a b c", 2) == Around(before="a ", after=" c", begins=True, ends=True)
    assert of("a b c", 0) == Around(before="", after=" b c", begins=True, ends=True)
    assert of("a b c", 4) == Around(before="a b ", after="", begins=True, ends=True)


def test_it_is_a_little_of_a_long_text_and_says_so() -> None:
    found = of("x" * 50 + "T" + "y" * 50, 50)
    assert found == Around(before="x" * BEFORE, after="y" * AFTER)


def test_no_half_of_a_character_stands_in_it() -> None:
    text = "\u6c49\u5b57\u6d4b\u8bd5\u6587\u672c"
    for position in range(len(text.encode())):
        found = of(text, position)
        assert "\ufffd" not in found.before + found.after
        assert found.before in text
        assert found.after in text


def test_a_token_of_ten_thousand_characters_is_cut() -> None:
    class Long:
        def decode(self, ids: list[int], **_: Any) -> str:
            return "".join("ab"[one] * 10_000 for one in ids)

    found = around([0, 1, 0], 1, Long())
    assert found == Around(before="a" * AROUND_KEPT, after="a" * AROUND_KEPT)


def test_every_peak_of_a_record_has_it_and_it_survives_its_file(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    record = record_of(checkpoint, corpus)
    samples = {sample.id: sample.text for sample in read_jsonl(corpus)}
    told = [peak for reading in record.sites.values() for peak in reading.peaks if peak.sample]
    assert told
    for peak in told:
        assert peak.around is not None
        words = f"{peak.around.before}{peak.token}{peak.around.after}".split()
        assert " ".join(words) in " ".join((samples[peak.sample] or "").split())
    save(record, tmp_path / "r.safetensors")
    assert load(tmp_path / "r.safetensors") == record


def test_a_slim_record_has_it_of_the_entries_that_it_keeps(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    whole = record_of(checkpoint, corpus)
    save(summary(whole), tmp_path / "slim.safetensors")
    slim = load(tmp_path / "slim.safetensors")
    for name, reading in slim.sites.items():
        assert reading.peaks == whole.sites[name].peaks[:1]
