"""Weight files as they are read: every dtype, exactly, in pieces, in order, and once."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pytest_maxact.checkpoint.weights import scan as under_test
from pytest_maxact.checkpoint.weights.live import scan_live
from pytest_maxact.checkpoint.weights.scan import scan_files
from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.scan import TensorScan, weight_scan
from tests.support import tiny

NAN = {1: 0xFF, 2: -1, 4: -1, 8: -1}
WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
FLOATS = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e8m0fnu,
]
WITH_INFINITY = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2]


def scanned(path: Path, **tensors: torch.Tensor) -> dict[str, TensorScan]:
    save_file(tensors, path / "model.safetensors")
    return scan_files([path / "model.safetensors"])


def random(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return (100 * torch.randn(shape, generator=generator)).abs().to(dtype)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.float() if tensor.itemsize == 1 else tensor).double()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_float_of_any_width_is_found_as_torch_finds_it(
    dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "_PIECE", 4096)
    sound = random(dtype, 61, 143)
    broken = sound.clone()
    for place in (0, 4095, -1):
        broken.view(WHOLE[dtype.itemsize]).view(-1)[place] = NAN[dtype.itemsize]
    found = scanned(tmp_path, sound=sound, broken=broken)
    for name, tensor in (("sound", sound), ("broken", broken)):
        values = wide(tensor)
        finite = values[torch.isfinite(values)]
        assert found[name].nonfinite == values.numel() - finite.numel(), name
        assert found[name].largest == finite.abs().max().item(), name
        assert (found[name].elements, found[name].shape) == (61 * 143, (61, 143))
    assert found["broken"].nonfinite == 3


@pytest.mark.parametrize("dtype", WITH_INFINITY, ids=str)
@pytest.mark.parametrize("sign", [1, -1])
def test_an_infinity_of_either_sign_is_not_finite_and_the_largest_number_is(
    dtype: torch.dtype, sign: int, tmp_path: Path
) -> None:
    infinite = torch.full((3, 2), sign * float("inf")).to(dtype)
    largest = torch.full((3, 2), sign * torch.finfo(dtype).max, dtype=torch.float64).to(dtype)
    found = scanned(tmp_path, infinite=infinite, largest=largest)
    assert (found["infinite"].nonfinite, found["infinite"].largest) == (6, 0.0)
    assert (found["largest"].nonfinite, found["largest"].largest) == (0, torch.finfo(dtype).max)


def test_the_smallest_number_is_not_zero(tmp_path: Path) -> None:
    tensors = {f"{str(dtype)[6:]}.weight": torch.zeros(4, 4).to(dtype) for dtype in FLOATS[:6]}
    for tensor in tensors.values():
        tensor.view(WHOLE[tensor.itemsize])[1, 2] = 1
    found = scanned(tmp_path, **tensors)
    assert all(tensor.largest > 0 and tensor.empty == 0 for tensor in found.values())


@pytest.mark.parametrize(
    ("values", "dtype", "largest"),
    [
        ([-128, 3], torch.int8, 128.0),
        ([0, 255], torch.uint8, 255.0),
        ([-7, 5], torch.int64, 7.0),
        ([0, 0], torch.int32, 0.0),
        ([0, 1], torch.bool, 1.0),
    ],
)
def test_whole_numbers_are_finite(values: list[int], dtype: torch.dtype, largest: float, tmp_path: Path) -> None:
    found = scanned(tmp_path, x=torch.tensor(values).to(dtype))["x"]
    assert (found.nonfinite, found.largest) == (0, largest)


def test_tensors_without_entries_and_without_sides_are_found_too(tmp_path: Path) -> None:
    found = scanned(tmp_path, none=torch.zeros(0), scalar=torch.tensor(float("nan")))
    assert (found["none"].elements, found["none"].nonfinite, found["none"].empty) == (0, 0, 0)
    assert (found["scalar"].elements, found["scalar"].nonfinite) == (1, 1)


@pytest.mark.parametrize(
    ("name", "shape", "empty"),
    [
        ("lm_head.weight", (4, 4), 1),
        ("model.layers.0.mlp.experts.gate_up_proj", (3, 4, 4), 3),
        ("vision.patch_embedding.weight", (4, 3, 2, 2), 1),
        ("model.layers.0.self_attn.q_proj.bias", (4,), 0),
        ("model.norm.weight", (4,), 0),
        ("embeddings.token_type_embeddings.weight", (2, 4), 0),
        ("vision.mask_token", (1, 1, 4), 0),
        ("layers.0.lora_B.weight", (4, 4), 0),
    ],
)
def test_a_matrix_of_zeros_is_empty_and_a_vector_of_zeros_is_not(
    name: str, shape: tuple[int, ...], empty: int, tmp_path: Path
) -> None:
    found = scanned(tmp_path, **{name: torch.zeros(shape, dtype=torch.bfloat16)})
    assert found[name].empty == empty
    live = torch.nn.Module()
    live.state_dict = lambda: {name: torch.zeros(shape)}  # type: ignore[method-assign,assignment,misc]
    assert sum(tensor.empty for tensor in scan_live(live).named.values()) == empty


def test_one_experts_matrix_of_zeros_is_found_among_others(tmp_path: Path) -> None:
    stack = torch.ones(5, 4, 6)
    stack[3] = 0.0
    assert scanned(tmp_path, **{"mlp.experts.down_proj": stack})["mlp.experts.down_proj"].empty == 1


def test_infinity_is_meant_where_it_says_that_there_is_no_bound_and_nan_never(tmp_path: Path) -> None:
    infinite, nan = torch.tensor(float("-inf")), torch.tensor(float("nan"))
    found = scanned(
        tmp_path,
        **{"a.input_min": infinite, "b.output_max": nan, "c.causal_mask": infinite.clone(), "d": infinite.clone()},
    )
    assert {name: tensor.nonfinite for name, tensor in found.items()} == {
        "a.input_min": 0, "b.output_max": 1, "c.causal_mask": 0, "d": 1,
    }  # fmt: skip


def test_what_else_sees_the_bytes_sees_the_file_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "_PIECE", 512)
    file = tmp_path / "model.safetensors"
    save_file({"a": random(torch.float32, 37, 11), "b": random(torch.bfloat16, 3), "c": torch.zeros(0)}, file)
    digest = hashlib.sha256()
    scan_files([file], lambda path: digest.update)
    assert digest.hexdigest() == hashlib.sha256(file.read_bytes()).hexdigest()


def test_memory_stays_at_the_piece_that_is_read(tmp_path: Path) -> None:
    import tracemalloc

    file = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(24 << 20, dtype=torch.bfloat16)}, file)
    tracemalloc.start()
    scan_files([file])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20, "of 48 MiB"


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(64)}, file)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(MeasureError, match=r"model\.safetensors cannot be read: .*\n  copy or download it again"):
        scan_files([file])


def test_names_that_a_terminal_would_obey_are_spelled_out(tmp_path: Path) -> None:
    assert list(scanned(tmp_path, **{"a\x1b[31m.weight": torch.ones(2)})) == [r"a\x1b[31m.weight"]


def test_kept_by_name_are_what_is_wrong_and_the_largest(tmp_path: Path) -> None:
    tensors = {
        "a": torch.ones(2),
        "b": torch.full((2,), -7.0),
        "c": torch.full((2,), 1000),
        "d.weight": torch.zeros(2, 2),
    }
    found = weight_scan(("model.safetensors",), scanned(tmp_path, **tensors), {})
    assert (found.tensors, found.elements, found.largest) == (4, 10, "b")
    assert found.named.keys() == {"b", "d.weight"}
    assert found.empty.keys() == {"d.weight"}


def test_a_live_model_is_found_as_its_files_are(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(tiny.config_of("qwen3", tie_word_embeddings=False), dtype=torch.bfloat16)
    with torch.no_grad():
        model.lm_head.weight[3, 4] = float("inf")
        model.model.layers[1].mlp.up_proj.weight.zero_()
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "model.safetensors"
    )
    files = weight_scan((), scan_files([tmp_path / "model.safetensors"]), {})
    live = scan_live(model)
    assert live.broken.keys() == files.broken.keys() == {"lm_head.weight"}
    assert live.empty.keys() == files.empty.keys() == {"model.layers.1.mlp.up_proj.weight"}
    assert (live.tensors, live.elements, live.largest) == (files.tensors, files.elements, files.largest)
    assert live.named["lm_head.weight"].largest == files.named["lm_head.weight"].largest


def test_tied_tensors_of_a_live_model_count_once() -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(tiny.config_of("qwen3", tie_word_embeddings=True), dtype=torch.bfloat16)
    with torch.no_grad():
        model.lm_head.weight[3, 4] = float("nan")
    assert scan_live(model).broken.keys() == {"model.embed_tokens.weight"}
