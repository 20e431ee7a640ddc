"""What sound models hold that others do not is no fault: rows of zeros, layers and experts that are copies, weights
that are few numbers or were cast as they are, one that is large.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pytest_maxact.checkpoint.lint.look import lint
from tests.support.exports import bitsandbytes, compressed, fp8_block, gptq
from tests.support.exports.source import Tensors, linears_of, restored, source, tensors_of, written
from tests.support.linting import changed, export

FIRST, SECOND = "model.layers.0.", "model.layers.1."
Change = Callable[[Tensors], None]


def pruned(tensors: Tensors) -> None:
    """A third of the feed-forward block, not at its end."""
    for layer in (FIRST, SECOND):
        for name in ("gate", "up"):
            tensors[f"{layer}mlp.{name}_proj.weight"][128:256] = 0
        tensors[f"{layer}mlp.down_proj.weight"][:, 128:256] = 0


def padded(tensors: Tensors) -> None:
    for layer in (FIRST, SECOND):
        for name in ("gate", "up"):
            tensors[f"{layer}mlp.{name}_proj.weight"][-100:] = 0
        tensors[f"{layer}mlp.down_proj.weight"][:, -100:] = 0


def sparse(tensors: Tensors) -> None:
    """Two of four entries are zero."""
    for _, matrix in linears_of(tensors):
        fours = matrix.view(-1, 4)
        fours.scatter_(1, fours.abs().argsort(1)[:, :2], 0)


def expanded(tensors: Tensors) -> None:
    """A layer that adds nothing yet."""
    for name in ("mlp.down_proj", "self_attn.o_proj"):
        tensors[f"{SECOND}{name}.weight"].zero_()


def stacked(tensors: Tensors) -> None:
    """A layer twice, of which one was tuned in part."""
    for name in [name for name in tensors if name.startswith(SECOND)]:
        twin = tensors[name.replace(SECOND, FIRST)]
        if "norm" in name:
            twin += torch.linspace(0, 0.1, len(twin), dtype=twin.dtype)
        tensors[name] = twin.clone()
    for name in ("self_attn.q_proj", "mlp.down_proj"):
        matrix = tensors[f"{SECOND}{name}.weight"]
        matrix += torch.linspace(-0.2, 0.2, matrix.shape[1], dtype=matrix.dtype)


def upcycled(tensors: Tensors) -> None:
    """Experts that begin as copies of one; two were trained."""
    for name in [name for name in tensors if ".experts." in name]:
        head, _, rest = name.partition(".experts.")
        number, _, part = rest.partition(".")
        tensors[name] = tensors[f"{head}.experts.0.{part}"].clone()
        if number in "56":
            tensors[name] += torch.linspace(-0.1, 0.1, tensors[name].shape[1], dtype=torch.bfloat16)


def ternary(tensors: Tensors) -> None:
    for _, matrix in linears_of(tensors):
        matrix.copy_((matrix / 0.15).round().clamp(-1, 1) * 0.15)


def peaked(tensors: Tensors) -> None:
    tensors[f"{SECOND}mlp.down_proj.weight"][0, 0] = 2000.0


def faint(tensors: Tensors) -> None:
    for _, matrix in linears_of(tensors):
        matrix *= 1e-6


def origin(folder: Path, change: Change, kind: str) -> Path:
    plain = source(folder / "plain", kind)
    tensors = tensors_of(plain)
    change(tensors)
    return written(plain, folder / "source", tensors, None)


@pytest.mark.parametrize("preset", ["W8A8", "W4A16", "FP8", "NVFP4"])
@pytest.mark.parametrize("change", [pruned, padded, sparse, expanded, stacked, upcycled, ternary, peaked, faint])
def test_a_sound_model_that_is_unlike_others_is_not_red(change: Change, preset: str, tmp_path: Path) -> None:
    kind = "qwen3_moe" if change is upcycled else "qwen3"
    found = lint(compressed.export(tmp_path / "m", preset=preset, origin=origin(tmp_path, change, kind), kind=kind))
    assert not found.red, [(fault.code, fault.tensor, fault.what) for fault in found.faults]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("change", [pruned, padded, expanded])
def test_neither_is_one_in_gptq(change: Change, symmetric: bool, tmp_path: Path) -> None:
    found = lint(gptq.export(tmp_path / "m", origin=origin(tmp_path, change, "qwen3"), symmetric=symmetric))
    assert not found.red, [(fault.code, fault.tensor, fault.what) for fault in found.faults]


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("change", [expanded, ternary])
def test_neither_is_one_of_bitsandbytes(change: Change, nested: bool, tmp_path: Path) -> None:
    found = lint(bitsandbytes.export(tmp_path / "m", origin=origin(tmp_path, change, "qwen3"), nested=nested))
    assert not found.red, [(fault.code, fault.tensor, fault.what) for fault in found.faults]


@pytest.mark.parametrize(("change", "code"), [(pruned, "zero_rows"), (stacked, "twin")])
def test_it_is_remarked_on(change: Change, code: str, tmp_path: Path) -> None:
    found = lint(compressed.export(tmp_path / "m", preset="W4A16", origin=origin(tmp_path, change, "qwen3")))
    assert code in found.counts


def test_fp8_that_was_cast_as_it_is_has_scales_of_one(tmp_path: Path) -> None:
    plain = source(tmp_path / "plain", "qwen3")
    whole = fp8_block.export(tmp_path / "whole", origin=plain)
    tensors, dense = tensors_of(whole), dict(linears_of(tensors_of(plain)))
    for module, matrix in dense.items():
        tensors[f"{module}.weight"] = matrix.to(torch.float8_e4m3fn)
        tensors[f"{module}.weight_scale_inv"].fill_(1.0)
    assert not lint(written(whole, tmp_path / "cast", tensors, None)).red


@pytest.mark.parametrize("status", ["frozen", "initialized", None])
def test_codes_of_a_config_that_does_not_say_compressed_are_read_all_the_same(
    status: str | None, tmp_path: Path
) -> None:
    folder = changed(tmp_path / "m", "compressed W8A8", lambda _, config: _say(config, status))
    found = lint(folder)
    assert (found.red, dict(found.counts)) == (0, {"status": 1})
    mine, theirs = restored(folder), restored(export("compressed W8A8"))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def _say(config: dict[str, dict[str, str]], status: str | None) -> None:
    del config["quantization_config"]["quantization_status"]
    if status is not None:
        config["quantization_config"]["quantization_status"] = status
