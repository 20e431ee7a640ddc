"""A GGUF file is gated as it is: config, tokenizer and weights out of the one file, every value given back by gguf."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize

from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.weights.scan import scan_files
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from tests.support.exports import gguf
from tests.support.tiny import sentences, write_corpus


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gguf.export(tmp_path_factory.mktemp("gguf") / "model.gguf")


@pytest.fixture(scope="module")
def record(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    texts = write_corpus(tmp_path_factory.mktemp("corpus") / "c.jsonl", sentences([5, 9, 3, 12, 7, 7]))
    settings = Settings(model=str(file), corpus=str(texts))
    return measure(prepare(settings), settings, None)


def parameters(file: Path) -> dict[str, torch.Tensor]:
    settings = Settings(model=str(file))
    model = load(locate(settings), settings).headed
    assert model is not None
    return dict(model.state_dict())


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0", "Q5_0", "F16"])
def test_its_weights_are_what_gguf_gives_back_rows_of_queries_and_keys_in_the_models_order(
    kind: str, file: Path, tmp_path: Path
) -> None:
    file = gguf.export(tmp_path / "other.gguf", kind, file.with_name("model-source"))
    found = parameters(file)
    stored = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in GGUFReader(file).tensors}
    wanted = gguf.unpermuted({name: torch.tensor(stored[gguf.called(name)]) for name in found})
    for name, tensor in found.items():
        assert torch.equal(tensor, wanted[name].to(tensor.dtype)), name


def test_it_is_measured_and_says_what_it_was(record: Record, file: Path) -> None:
    provenance = record.provenance
    assert provenance.stored.startswith("gguf (Q4_1), 5 bits in groups of 32, dequantized by gguf ")
    assert [name for name, _ in provenance.files] == ["model.gguf"]
    assert provenance.low_bits is not None
    assert (provenance.low_bits.bits, provenance.low_bits.group) == (5, 32)
    assert record.weights is not None
    assert record.weights.tensors == len(GGUFReader(file).tensors)
    assert not record.weights.broken
    assert not record.weights.empty
    assert record.predictions is not None
    assert not record.predictions.unchecked


def test_what_is_scanned_are_the_values_that_its_scales_make(file: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(file, tmp_path / "model.gguf"))
    scans = scan_files([gguf.damaged(copy, "blk.0.ffn_up.weight", float("inf"))])
    assert scans["blk.0.ffn_up.weight"].nonfinite == 32
    assert sum(scan.nonfinite for scan in scans.values()) == 32
    for tensor in GGUFReader(file).tensors:
        if tensor.name != "blk.0.ffn_up.weight":
            values = dequantize(tensor.data, tensor.tensor_type)
            assert scans[tensor.name].largest == pytest.approx(float(np.abs(values).max()))
            assert scans[tensor.name].dtype == tensor.tensor_type.name


def test_one_that_is_cut_off_or_none_is_refused(file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:-4096])
    none = tmp_path / "none.gguf"
    none.write_bytes(b"GGUF\3\0\0\0")
    for broken in (cut, none):
        with pytest.raises(InputError, match="corrupt, truncated or no GGUF file"):
            locate(Settings(model=str(broken)))


@pytest.mark.parametrize(
    "stray", ["blk.0.attn_q.bias", "blk.0.ffn_up.scale", "blk.0.attn_sinks.weight", "blk.7.attn_norm.weight"]
)
def test_a_tensor_of_a_layer_that_the_model_has_no_place_for_is_refused(stray: str, tmp_path: Path) -> None:
    """llama.cpp adds such a bias, and what is measured would be another model."""
    settings = Settings(model=str(gguf.export(tmp_path / "model.gguf", beside=["rope_freqs.weight", stray])))
    with pytest.raises(MeasureError, match="hold 1 tensor of layers that the architecture does not use, the first"):
        load(locate(settings), settings)


def test_what_lies_beside_the_layers_is_told_as_left_out(tmp_path: Path) -> None:
    beside = ["rope_freqs.weight", "blk.0.attn_rot_embd.weight", "blk.3.nextn.eh_proj.weight", "blk.3.attn_q.weight"]
    settings = Settings(model=str(gguf.export(tmp_path / "model.gguf", beside=beside)))
    assert load(locate(settings), settings).left_out == tuple(f"{n}: not used by this architecture" for n in beside)
