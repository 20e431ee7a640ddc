"""A streamed measurement that is killed again and again gives the Record of one that was let alone."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.effects import headed
from tests.support.killed import Killings, killed

LENGTHS = [9, 14, 5, 17, 11, 7, 13, 6]


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="measurements are forked here")
def test_kills_change_nothing(tmp_path: Path, warm_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.save(tmp_path / "model", headed("qwen3", num_hidden_layers=4))
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences(LENGTHS))
    options = {
        "model": str(model), "corpus": str(corpus), "schemes": ("W8A8_STATIC",), "batch_tokens": 18,
        "device": "stream",
    }  # fmt: skip
    (tmp_path / "runs").mkdir()
    (tmp_path / "spilled").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spilled"))
    steps, chains = killed(Killings(folder=str(tmp_path / "runs"), options=options, kills=5, links=5), warm_python)
    batches = steps // 5
    assert batches > 4
    assert sum(chain.kills for chain in chains) == 5
    for chain in chains:
        assert chain.same
        assert not (chain.ended and chain.left)
        assert set(Counter(chain.batches)) == set(chains[0].batches)
        assert len(chain.batches) - len(set(chain.batches)) <= 2 * batches * chain.kills, "a layer, and one half done"
    assert any(remark.startswith("the measurement went on after ") for chain in chains for remark in chain.remarks)
    assert not list((tmp_path / "spilled").glob("maxact-spill-*/*.states"))
