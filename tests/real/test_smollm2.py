"""A real language model, SmolLM2-135M: what is known of it is found, by the road that users take.

`python fixtures/make_smollm2.py` makes it, once; without it these tests are skipped, and say so.
"""

import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.numbers.formats import integer_distortion
from pytest_maxact.record.file import load, save
from pytest_maxact.record.record import Record
from tests.support.gate_runs import run_gate
from tests.support.paths import FIXTURES

_MADE = runpy.run_path(str(FIXTURES / "make_smollm2.py"))
CHECKPOINT: Path = _MADE["folder"]()
GGUF: Path = _MADE["gguf"]()
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not CHECKPOINT.is_dir(), reason="not made yet: python fixtures/make_smollm2.py"),
]


MEASURED = """
import re, sys
from pathlib import Path

import transformers.models.llama.modeling_llama

from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.record.file import save
from pytest_maxact.settings.settings import Settings

def resident(name):
    found = re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text()) if sys.platform == "linux" else None
    return int(found[1]) << 10 if found else 0

settings = Settings(
    model=sys.argv[1], max_samples=12, max_seq_len=128, batch_tokens=1024, arithmetic="float32-accumulate",
    device="cpu", family="generic",
)
prepared = prepare(settings)
before = resident("VmRSS")
record = measure(prepared, settings, "generic")
need = prepared.placement.need
print(need.whole, need.weights, need.files, resident("VmHWM") - before)
save(record, sys.argv[2])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A Record, and bytes: `planned`, of these `weights`, `mapped` beside them, and `taken` in the end."""

    record: Record
    planned: int
    weights: int
    mapped: int
    taken: int


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Of some 1 500 tokens, in a process of its own, of which memory is told; through float32, which is as fast on
    every CPU.
    """
    path = tmp_path_factory.mktemp("smollm2") / "r.safetensors"
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, str(CHECKPOINT), str(path)], capture_output=True, text=True, check=False,
        timeout=600, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    planned, weights, mapped, taken = map(int, run.stdout.split())
    return Measured(record=load(path), planned=planned, weights=weights, mapped=mapped, taken=taken)


@pytest.fixture(scope="module")
def record(measured: Measured) -> Record:
    return measured.record


def test_its_maximum_is_a_single_channel_of_the_first_token_from_layer_11_on(record: Record) -> None:
    m = max(record.sites.values(), key=lambda reading: reading.max_abs)
    assert m.site.name == "layers.11.hidden"
    assert m.max_abs == pytest.approx(28800, rel=2.0**-7)
    assert (m.peaks[0].position, m.peaks[0].channel) == (0, 507)
    assert record.sites["layers.10.hidden"].max_abs < 200
    assert record.sites["layers.11.mlp_output"].max_abs == pytest.approx(28800, rel=2.0**-7)
    assert record.sites["layers.1.hidden"].max_abs > 5 * record.sites["layers.0.hidden"].max_abs


LEAST_TAKEN = 0.4
"""Of what is planned, margin included; the plan takes the widest layer, the longest sample and a head at their most."""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_the_plan_of_its_memory_holds_and_is_no_more_than_twice_and_a_half_what_it_takes(measured: Measured) -> None:
    assert measured.weights < measured.taken
    # pages of mapped files are resident too, and the system takes them back where it needs them
    assert LEAST_TAKEN * measured.planned < measured.taken < measured.planned + measured.mapped, measured


def test_no_token_of_it_meets_the_criterion_of_massive_activations(record: Record) -> None:
    found = {name: reading.massive for name, reading in record.sites.items() if reading.massive}
    assert sum(massive.tokens for massive in found.values()) == 0
    assert 300 < max(massive.max_ratio or 0 for massive in found.values()) < 1000


def test_int8_per_tensor_leaves_nothing_of_its_carrier(record: Record) -> None:
    histogram = record.sites["layers.11.hidden"].histogram
    assert integer_distortion(histogram, histogram, "max_abs").flush_to_zero > 0.995


def test_it_predicts_and_the_gate_passes_it(record: Record, pytester: pytest.Pytester) -> None:
    assert record.predictions is not None
    save(record, Path("smollm2.safetensors"))
    run_gate(
        pytester, "--maxact-replay=smollm2.safetensors", "--maxact-family=generic", exit=0,
        report=["M *28800 in layers.11.hidden, *token 0 *channel 507"],
        says=["nats per token better than the shares of tokens", "no layer meets the criterion of Sun et al."],
    )  # fmt: skip


@pytest.mark.skipif(not GGUF.is_file(), reason="not fetched yet: python fixtures/make_smollm2.py --gguf")
def test_its_gguf_file_is_gated_as_it_is_and_measures_what_the_folder_made_of_it_does(
    record: Record, pytester: pytest.Pytester
) -> None:
    options = (
        *("--maxact-max-samples=12", "--maxact-max-seq-len=128", "--maxact-arithmetic=float32-accumulate"),
        "--maxact-batch-tokens=1024",
    )
    run_gate(
        pytester, f"--maxact-model={GGUF}", "--maxact-family=generic", *options, "--maxact-save=gguf.safetensors",
        exit=0, report=["M *28800 in layers.11.hidden, *token 0 *channel 507"],
        says=["stored as gguf (Q4_1), 5 bits in groups of 32, dequantized by gguf"],
    )  # fmt: skip
    other = load(Path("gguf.safetensors"))
    assert {name: reading.max_abs for name, reading in other.sites.items()} == {
        name: reading.max_abs for name, reading in record.sites.items()
    }


@pytest.mark.skipif(not GGUF.is_file(), reason="not fetched yet: python fixtures/make_smollm2.py --gguf")
def test_the_tokenizer_in_its_gguf_file_is_that_of_the_folder() -> None:
    one, other = load_tokenizer(GGUF.parent, False, gguf=GGUF.name), load_tokenizer(CHECKPOINT, False)
    texts = ["The quick brown fox", "  def f(x):\n    return x", "naïve café 東京 😀", "<|im_start|>user\nhi<|im_end|>"]
    for text in texts:
        for special in (True, False):
            ids = [tokenizer(text, add_special_tokens=special).input_ids for tokenizer in (one, other)]
            assert ids[0] == ids[1]
    assert one.special_tokens_map == other.special_tokens_map
    assert (one.bos_token_id, one.eos_token_id, one.unk_token_id) == (1, 2, 0)
    assert one("hi there").input_ids == one("hi there", add_special_tokens=False).input_ids  # it adds no BOS
    assert one.get_vocab() == other.get_vocab()
    turns = [{"role": "user", "content": "hi"}]
    assert one.apply_chat_template(turns, tokenize=False) == other.apply_chat_template(turns, tokenize=False)
