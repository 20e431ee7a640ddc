"""How long `maxact lint` looks at exports of real size: headers and scales as exporters write them, packed weights as
holes, so that no disk is filled.

    python -m benchmarks.lint [FOLDER]
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pytest_maxact.checkpoint.lint.look import lint

_SIZES = {"I32": 4, "BF16": 2, "I64": 8, "F8_E4M3": 1, "F32": 4, "U8": 1}
Tensor = tuple[str, str, tuple[int, ...], bytes | None]
"""Name, dtype, shape, and its bytes, None for a hole."""


def _w4a16(module: str, rows: int, columns: int) -> Iterator[Tensor]:
    scales = np.full((rows, columns // 128), 0x3C00, np.uint16)
    yield f"{module}.weight_packed", "I32", (rows, columns // 8), None
    yield f"{module}.weight_scale", "BF16", scales.shape, scales.tobytes()
    yield f"{module}.weight_shape", "I64", (2,), np.array([rows, columns], np.int64).tobytes()


def _layers(count: int, hidden: int, wide: int, experts: int, kv: int) -> Iterator[Iterator[Tensor]]:
    for layer in range(count):
        at = f"model.layers.{layer}"
        for name, rows, columns in (("q", hidden, hidden), ("k", kv, hidden), ("v", kv, hidden), ("o", hidden, hidden)):
            yield _w4a16(f"{at}.self_attn.{name}_proj", rows, columns)
        for expert in range(max(experts, 1)):
            block = f"{at}.mlp.experts.{expert}" if experts else f"{at}.mlp"
            yield _w4a16(f"{block}.gate_proj", wide, hidden)
            yield _w4a16(f"{block}.up_proj", wide, hidden)
            yield _w4a16(f"{block}.down_proj", hidden, wide)


def write(folder: Path, shape: dict[str, int]) -> int:
    """An export, one file a layer or so; how many bytes its tensors have."""
    folder.mkdir(parents=True)
    tensors = [tensor for module in _layers(**shape) for tensor in module]
    shards = [tensors[start : start + 20_000] for start in range(0, len(tensors), 20_000)]
    weight_map, total = {}, 0
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        total += _file(folder / name, shard)
        weight_map |= {key: name for key, *_ in shard}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map})
    )
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
    stated = {
        "quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head"],
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }  # fmt: skip
    config = {"model_type": "llama", "num_hidden_layers": shape["count"], "quantization_config": stated}
    (folder / "config.json").write_text(json.dumps(config))
    return total


def _file(file: Path, tensors: list[Tensor]) -> int:
    header, place = {}, 0
    for key, dtype, shape, _ in tensors:
        size = int(np.prod(shape)) * _SIZES[dtype]
        header[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for key, _, _, raw in tensors:
            if raw is not None:
                stream.seek(8 + len(text) + header[key]["data_offsets"][0])
                stream.write(raw)
        stream.truncate(8 + len(text) + place)
    return place


def main(folder: Path) -> None:
    for name, shape in (
        ("8B, 32 layers", {"count": 32, "hidden": 4096, "wide": 14336, "experts": 0, "kv": 1024}),
        ("80B, 48 layers of 400 experts", {"count": 48, "hidden": 2048, "wide": 640, "experts": 400, "kv": 512}),
    ):
        place = folder / name.partition(",")[0]
        total = write(place, shape)
        start = time.perf_counter()
        found = lint(place)
        seconds = time.perf_counter() - start
        print(
            f"{name}: {total / 1e9:.1f} GB, {found.tensors} tensors, {found.modules} modules, "
            f"{sum(found.counts.values())} findings, {seconds:.1f} s"
        )
        shutil.rmtree(place)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
