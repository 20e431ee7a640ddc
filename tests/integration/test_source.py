"""An artifact is gated against the source it was made from: weights, activations and predictions, measured once and
judged again from its Record.
"""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pytest_maxact.record.file import save
from tests.support import records, tiny
from tests.support.exports import gptq
from tests.support.gate_runs import run_gate
from tests.support.paths import TRAINED
from tests.support.trained import STEPS, change_weights

SHORT = ("--maxact-max-samples=24", "--maxact-max-seq-len=128", "--maxact-family=generic")
UP = "model.layers.3.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gptq.export(tmp_path_factory.mktemp("artifact") / "m", TRAINED, bits=8, group=64)


def test_one_that_was_made_of_it_passes_and_its_record_is_judged_again(
    pytester: pytest.Pytester, artifact: Path
) -> None:
    run_gate(
        pytester, f"--maxact-model={artifact}", f"--maxact-source={TRAINED}", *SHORT, "--maxact-save=r.safetensors",
        exit=pytest.ExitCode.OK,
        says=[
            "Against its source", "42 in low bits, gptq int8", "all of them the source's", "KL from the source",
            "noise: the source against itself, each sample alone",
        ],
        lacks=["not compared"],
    )  # fmt: skip
    again = run_gate(pytester, "--maxact-replay=r.safetensors", *SHORT[2:], "-rA", exit=pytest.ExitCode.OK)
    printed = again.stdout.str()
    for name in ("weights::source_loss_db", "weights::source_changed", "predictions::source_mean_kl"):
        assert f"maxact::{name}" in printed


def test_one_weight_of_another_step_is_named(pytester: pytest.Pytester, tmp_path: Path) -> None:
    other = shutil.copytree(TRAINED, tmp_path / "other")
    taken = load_file(STEPS[3600] / "model.safetensors")[UP]
    change_weights(other, lambda tensors: tensors.update({UP: taken}))
    folder = gptq.export(tmp_path / "m", other, bits=4, group=64)
    run_gate(
        pytester, f"--maxact-model={folder}", f"--maxact-source={TRAINED}", *SHORT, exit=pytest.ExitCode.TESTS_FAILED,
        says=[f"maxact::weights.{UP}::source_outlying_db", f"{UP} (layer 3): loses"],
    )  # fmt: skip


def test_another_step_as_the_source_is_red(pytester: pytest.Pytester, artifact: Path) -> None:
    run_gate(
        pytester, f"--maxact-model={artifact}", f"--maxact-source={STEPS[3600]}", *SHORT,
        exit=pytest.ExitCode.TESTS_FAILED,
        says=["maxact::predictions::source_mean_kl", "maxact::weights::source_changed"],
    )  # fmt: skip


def test_a_record_of_the_source_tells_activations_and_the_rest_is_said_to_be_unchecked(
    pytester: pytest.Pytester, artifact: Path
) -> None:
    run_gate(pytester, f"--maxact-model={TRAINED}", *SHORT, "--maxact-save=source.safetensors", exit=0)
    run_gate(
        pytester, f"--maxact-model={artifact}", "--maxact-source=source.safetensors", *SHORT, exit=0,
        says=["weights and predictions are not compared with the source: a Record of it holds neither"],
    )  # fmt: skip
    run_gate(
        pytester, f"--maxact-model={artifact}", "--maxact-source=source.safetensors", *SHORT, "--maxact-strict",
        refuses="weights and predictions are not compared",
    )  # fmt: skip


def test_one_in_16_bits_whose_tokenizer_is_in_other_words_is_judged_where_the_ids_are_the_sources(
    pytester: pytest.Pytester,
) -> None:
    """As in a file of another format, or written by another version: told by a Record of the source too."""
    values = {name: [[1.0, 2.0], [4.0, -8.0]] for name in ("embedding", "layers.0.hidden", "layers.1.hidden")}
    for name, ids, weights in (("source", "own", "0"), ("same", "other", "1")):
        made = records.record(values, tokenizer_sha256=ids, tokens_sha256="ids", weights_sha256=weights * 64)
        save(made, pytester.path / f"{name}.safetensors")
    own = ("--maxact-replay=same.safetensors", "--maxact-family=generic", "--maxact-html=report.html")
    run_gate(
        pytester, *own, "--maxact-source=source.safetensors", "-rA",
        says=["layers.0.hidden::growth[source]", "weights and predictions are not compared with the source"],
        lacks=["not measured alike", "could not"],
    )  # fmt: skip
    assert (pytester.path / "report.html").is_file()
    run_gate(pytester, *own, "--maxact-baseline=source.safetensors", refuses="they differ in tokenizer_sha256")


def test_a_source_of_another_kind_is_refused_with_both_values(
    pytester: pytest.Pytester, artifact: Path, tmp_path: Path
) -> None:
    narrow = shutil.copytree(TRAINED, tmp_path / "narrow")
    config = json.loads((narrow / "config.json").read_text())
    (narrow / "config.json").write_text(json.dumps({**config, "vocab_size": 1500}))
    for source, words in (
        (tiny.save(tmp_path / "llama", tiny.random_model("llama")), "model_type (llama there, qwen3 here)"),
        (artifact, "its weights are quantized themselves (gptq"),
        (tmp_path / "nothing", "nothing"),
    ):
        run_gate(pytester, f"--maxact-model={artifact}", f"--maxact-source={source}", *SHORT, refuses=words)
    run_gate(
        pytester, f"--maxact-model={artifact}", f"--maxact-source={narrow}", *SHORT, exit=pytest.ExitCode.USAGE_ERROR
    )
