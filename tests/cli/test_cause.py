"""`maxact cause`: what writes a massive channel, in words and for a program."""

import json
from pathlib import Path

import pytest
import torch

from pytest_maxact.cli.main import main
from tests.support import tiny


def test_a_planted_entry_is_named_and_proved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny.planted_model("qwen3", layer=1, value=4096.0, dtype=torch.float32)
    folder = tiny.save(tmp_path / "model", model)
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences([5, 9, 6], peak=(1, 2)))
    assert main(["cause", str(folder), "--corpus", str(corpus)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"channel {tiny.PEAK_CHANNEL} arises in layers.1.hidden: 4095.98" in said
    assert f"written by the matrix layers.1.mlp.down_proj.weight[{tiny.PEAK_CHANNEL}, 0] = 128" in said
    assert "set to zero: the channel 0, M 4095.98 -> " in said
    assert main(["cause", str(folder), "--corpus", str(corpus), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["found"]["place"] == [tiny.PEAK_CHANNEL, 0]
    assert told["found"]["kept"]["W8A8"] == pytest.approx(1, abs=0.01)


def test_a_model_without_massive_channels_has_no_cause(
    checkpoint: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cause", str(checkpoint), "--corpus", str(corpus)]) == 0
    assert "there is no single cause to look for" in " ".join(capsys.readouterr().out.split())
