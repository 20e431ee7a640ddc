"""A measurement that is killed again and again gives the Record of one that was let alone, and runs no batch again but
the one that a kill cut short.
"""

from collections import Counter
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.effects import headed
from tests.support.killed import Killings, killed

LENGTHS = [9, 14, 5, 17, 11, 7, 13, 6, 12, 10, 15, 8, 9, 4, 16]


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="measurements are forked here")
def test_thirty_kills_change_nothing(tmp_path: Path, warm_python: Path) -> None:
    model = tiny.save(tmp_path / "model", headed("qwen3", num_hidden_layers=1))
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences(LENGTHS))
    options = {
        "model": str(model), "corpus": str(corpus), "schemes": ("W8A8", "FP8", "FP16"), "batch_tokens": 18,
    }  # fmt: skip
    (tmp_path / "runs").mkdir()
    batches, chains = killed(Killings(folder=str(tmp_path / "runs"), options=options, kills=30, links=10), warm_python)
    assert batches > 10
    assert sum(chain.kills for chain in chains) == 30
    for chain in chains:
        assert chain.same
        assert not (chain.ended and chain.left)
        runs = Counter(chain.batches)
        assert len(chain.batches) - len(runs) <= chain.kills
        assert set(runs) == set(chains[0].batches)
    went_on = [chain for chain in chains if chain.remarks]
    assert went_on
    assert any(chain.ended for chain in chains)
    assert all(remark.startswith("the measurement went on after ") for chain in went_on for remark in chain.remarks)
