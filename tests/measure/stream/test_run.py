"""A pass with one layer in memory at a time gives the Record of the ordinary pass, to the byte; or it is refused by
name before anything is loaded.
"""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pytest_maxact.checkpoint.streamed import Layer, Streamed
from pytest_maxact.checkpoint.weights.reading import Reading
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.measure.stream.refused import refuse_unstreamed
from pytest_maxact.record.file import save
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.zoo.configs import build

ALONE = "doge"
"""A token of it sees its batch: every sequence must run alone, which is found out while it runs."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine samples of several lengths, so that batches of 32 tokens are padded."""
    return tiny.write_corpus(
        tmp_path_factory.mktemp("text") / "c.jsonl", tiny.sentences([7, 12, 3, 9, 5, 11, 4, 8, 16])
    )


def both(folder: Path, corpus: Path, tmp_path: Path, **options: Any) -> list[bytes]:
    """The Record files of the ordinary pass and of the streamed one."""
    found = []
    for device in ("cpu", "stream"):
        settings = Settings(model=str(folder), corpus=str(corpus), batch_tokens=32, device=device, **options)
        save(measure(prepare(settings), settings, None), tmp_path / f"{device}.safetensors")
        found.append((tmp_path / f"{device}.safetensors").read_bytes())
    return found


@pytest.mark.parametrize("model_type", ["mixtral", "gemma3n_text", "zamba2", "nanochat", ALONE])
def test_every_figure_is_that_of_the_ordinary_pass(model_type: str, corpus: Path, tmp_path: Path) -> None:
    """Experts that are put together of many tensors; several streams and a cache that layers share; a block that layers
    share; a norm that runs before the first layer and after the last.
    """
    folder = tiny.save(tmp_path / "m", build(model_type))
    whole, streamed = both(folder, corpus, tmp_path)
    assert streamed == whole


@pytest.mark.parametrize("arithmetic", ["native", "float32-accumulate"])
def test_errors_of_weights_scores_and_static_scales_are_too(arithmetic: str, corpus: Path, tmp_path: Path) -> None:
    """In 16 bits, in several files whose order is not that of the layers, with samples as they are deployed."""
    model = build("llama").to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    model.save_pretrained(tmp_path / "m", max_shard_size="20KB")
    tiny.word_tokenizer(bos=True).save_pretrained(tmp_path / "m")
    whole, streamed = both(
        tmp_path / "m", corpus, tmp_path, schemes=("FP8", "W8A8", "NVFP4", "FP16"), arithmetic=arithmetic, sites="all"
    )
    assert streamed == whole


def test_a_part_of_the_batches_is_the_same_part(corpus: Path, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m", build("llama"))
    whole, streamed = both(folder, corpus, tmp_path, shard="2/2")
    assert streamed == whole


def test_every_byte_is_read_once_where_files_are_in_the_order_of_layers(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.save(tmp_path / "m", build("llama"))
    readings: list[Reading] = []
    begin = Reading.__enter__
    monkeypatch.setattr(Reading, "__enter__", lambda self: readings.append(self) or begin(self))
    settings = Settings(model=str(folder), corpus=str(corpus), device="stream", schemes=("MXFP4A16",))
    measure(prepare(settings), settings, None)
    size = sum(tensor.nbytes for tensor in load_file(folder / "model.safetensors").values())
    assert readings[0].read - readings[0].again == size
    assert readings[0].again < size


def test_no_thread_and_no_hidden_state_is_left_where_a_pass_fails(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.save(tmp_path / "m", build("llama"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    read = Streamed.read

    def fails(self: Streamed, layer: Layer) -> dict[str, torch.Tensor]:
        if layer is self.layers[2]:
            raise MeasureError("the disk is gone")
        return read(self, layer)

    monkeypatch.setattr(Streamed, "read", fails)
    settings = Settings(model=str(folder), corpus=str(corpus), device="stream")
    with pytest.raises(MeasureError, match="the disk is gone"):
        measure(prepare(settings), settings, None)
    assert not [thread for thread in threading.enumerate() if thread.name == "maxact-turn"]
    assert not list(tmp_path.glob("maxact-spill-*"))


@pytest.mark.parametrize("options", [{"effect": ("W8A8",)}, {"deploy": ("W8A8",)}])
def test_an_effect_on_predictions_is_refused_before_anything_is_loaded(
    options: dict[str, Any], corpus: Path, tmp_path: Path
) -> None:
    folder = tiny.save(tmp_path / "m", build("llama"))
    settings = Settings(model=str(folder), corpus=str(corpus), device="stream", **options)
    with pytest.raises(InputError, match=r"stream: .*compare predictions of a model that is in memory as a whole"):
        prepare(settings)


def test_weights_in_low_bits_are_refused_by_name() -> None:
    refuse_unstreamed(False, Settings())
    with pytest.raises(InputError, match="stream: its weights are quantized"):
        refuse_unstreamed(True, Settings())
