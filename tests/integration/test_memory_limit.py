"""A checkpoint whose weights are more than the process may hold is measured layer by layer, and offloaded: its Record
is that of the model as a whole.

`RLIMIT_DATA` counts memory that a process writes to, and files that are mapped as if it would write to them, as torch
maps weights: nothing that maps all files at once loads under it, an offloaded model neither. A control group counts
what is resident, and gives up files that are only mapped.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from pytest_maxact.record.file import load
from pytest_maxact.record.record import Record
from tests.support import tiny
from tests.support.measuring import record_of

LAYERS, LIMIT = 10, 420 << 20
CHILD = """
import os, re, resource, sys
from pathlib import Path

import accelerate
from transformers import AutoModelForCausalLM

from pytest_maxact.checkpoint.load import load
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.record.file import save
from pytest_maxact.settings.settings import Settings

model, corpus, limit, group, *ways = sys.argv[1:]
settings = {how: Settings(model=model, corpus=corpus, device=how, batch_tokens=64) for how in ("cpu", *ways)}
prepare(settings["cpu"])  # all that is imported is in memory now
if group:
    Path(group, "cgroup.procs").write_text(str(os.getpid()))
    used = int(Path(group, "memory.usage_in_bytes").read_text())
    Path(group, "memory.limit_in_bytes").write_text(str(used + int(limit)))
else:
    used = int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (used + int(limit), resource.RLIM_INFINITY))
prepared = prepare(settings["cpu"])
try:
    measure(prepared, settings["cpu"], None)
except InputError as error:
    print("refused:", str(error).splitlines()[0])
try:
    if not group:
        load(prepared.checkpoint, settings["cpu"])
except MeasureError as error:
    print("failed:", error)
for how in ways:
    save(measure(prepare(settings[how]), settings[how], None), Path(f"{how}.safetensors"))
    print("measured:", how)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen3 of ten layers of 49 MB, one file each."""
    folder = tmp_path_factory.mktemp("large") / "model"
    config = AutoConfig.for_model(
        "qwen3", **{
            **tiny.FAMILIES["qwen3"], "hidden_size": 1024, "intermediate_size": 6656, "num_hidden_layers": LAYERS,
            "head_dim": 64, "num_attention_heads": 16, "num_key_value_heads": 16, "dtype": "bfloat16",
            "architectures": ["Qwen3ForCausalLM"],
        }
    )  # fmt: skip
    tiny.save(folder, tiny.random_model("qwen3"))
    for old in folder.glob("*.safetensors"):
        old.unlink()
    config.save_pretrained(folder)
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(0)
    shards: dict[str, dict[str, torch.Size]] = {}
    for name, empty in built.state_dict().items():
        if name != "lm_head.weight" or not config.tie_word_embeddings:
            layer = name.split(".")[2] if name.startswith("model.layers.") else "rest"
            shards.setdefault(f"model-{layer}.safetensors", {})[name] = empty.shape
    for file, shapes in shards.items():
        tensors = {
            name: (torch.randn(shape, generator=generator, dtype=torch.float32) * 0.02 + (len(shape) == 1)).bfloat16()
            for name, shape in shapes.items()
        }
        save_file(tensors, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, shapes in shards.items() for name in shapes}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="module")
def whole(checkpoint: Path, corpus: Path) -> Record:
    """Of the model in memory, in one thread, as under a limit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return record_of(checkpoint, corpus, batch_tokens=64)
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of this test alone."""
    folder = Path("/sys/fs/cgroup/memory", f"pytest-maxact-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").read_text()
    except OSError:
        pytest.skip("no control group can be made here")
    yield folder
    folder.rmdir()


def measured(python: Path, checkpoint: Path, corpus: Path, folder: Path, way: str, group: Path | str = "") -> str:
    """What a process says that may hold no more than `LIMIT` beyond what it has imported."""
    run = subprocess.run(
        [python, "-c", CHILD, checkpoint, corpus, str(LIMIT), group, way], cwd=folder, capture_output=True, text=True,
        check=False, timeout=300, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr[-4000:]
    return run.stdout


def same(record: Record, whole: Record) -> bool:
    return (record.sites, record.predictions, record.weights) == (whole.sites, whole.predictions, whole.weights)


def test_weights_are_more_than_the_limit(checkpoint: Path) -> None:
    assert sum(file.stat().st_size for file in checkpoint.glob("*.safetensors")) > LIMIT


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts what is mapped on Linux alone")
def test_a_model_larger_than_the_data_of_the_process_fails_to_load_and_is_streamed(
    checkpoint: Path, corpus: Path, whole: Record, tmp_path: Path, warm_python: Path
) -> None:
    said = measured(warm_python, checkpoint, corpus, tmp_path, "stream")
    assert "are needed on cpu" in said
    assert "(RLIMIT_DATA)" in said
    assert "failed: cannot load the weights" in said
    assert same(load(tmp_path / "stream.safetensors"), whole)


def test_a_model_larger_than_its_control_group_is_offloaded(
    checkpoint: Path, corpus: Path, whole: Record, tmp_path: Path, group: Path, warm_python: Path
) -> None:
    said = measured(warm_python, checkpoint, corpus, tmp_path, "offload", group)
    assert "are needed on cpu" in said
    assert "(its control group)" in said
    assert same(load(tmp_path / "offload.safetensors"), whole)
