"""Which files are the model, and how its text fits it, as a user of the gate meets them."""

import json
import shutil
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load
from tests.support import tiny
from tests.support.gate_runs import CHECKS, run_gate

INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def _two_sets(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """New shards with an index, and an old single file beside them."""
    folder = tmp_path_factory.mktemp("two") / "model"
    tiny.random_model("qwen3", seed=1).save_pretrained(folder, max_shard_size="100KB")  # type: ignore[operator]
    tiny.word_tokenizer().save_pretrained(folder)
    shutil.copy(checkpoint / "model.safetensors", folder)
    return folder


@pytest.fixture
def two_sets(_two_sets: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_two_sets, tmp_path / "model"))


def test_two_sets_are_refused_and_the_one_that_is_chosen_is_measured_alike_by_every_door(
    two_sets: Path, checkpoint: Path, corpus: Path, tmp_path: Path, pytester: pytest.Pytester, saved: Path
) -> None:
    common = [f"--maxact-model={two_sets}", f"--maxact-corpus={corpus}"]
    run_gate(pytester, *common, refuses="choose with --maxact-weights model.safetensors", lacks=["passed"])
    by_gate, by_command = tmp_path / "gate.safetensors", tmp_path / "command.safetensors"
    files = {"pytest.ini": f"[pytest]\nmaxact_weights = {INDEX}\n"}
    run_gate(pytester, *common, f"--maxact-save={by_gate}", files=files, exit=0, passed=CHECKS,
             says=["left out model.safetensors: lies beside the weights and is not loaded"])  # fmt: skip
    assert main(["measure", str(two_sets), "-o", str(by_command), "--corpus", str(corpus), "--weights", INDEX]) == 0
    assert load(by_gate).sites == load(by_command).sites != load(saved).sites
    arguments = ["measure", str(two_sets), "-o", str(by_command), "--corpus", str(corpus)]
    assert main([*arguments, "--weights", "model.safetensors"]) == 0
    assert load(by_command).sites == load(saved).sites
    assert load(by_command).provenance.weights_sha256 == load(saved).provenance.weights_sha256
    assert main(["weights", str(two_sets), "--schemes", "W8A8"]) == 4
    assert main(["weights", str(two_sets), "--weights", INDEX, "--schemes", "W8A8"]) == 0


def test_the_choice_is_of_the_checkpoints_under_test_and_of_baselines_that_have_such_a_file(
    two_sets: Path, checkpoint: Path, corpus: Path, pytester: pytest.Pytester
) -> None:
    run_gate(
        pytester,
        f"--maxact-model={two_sets}",
        f"--maxact-corpus={corpus}",
        f"--maxact-weights={INDEX}",
        f"--maxact-baseline={checkpoint}",
        lacks=["no such file", "more than one set"],
        says=["baseline"],
    )


@pytest.mark.parametrize("cache", [False, True])
def test_a_file_in_a_subfolder_that_the_config_names_is_what_a_cache_knows_it_by(
    cache: bool, checkpoint: Path, corpus: Path, tmp_path: Path, pytester: pytest.Pytester
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    (folder / "sub").mkdir()
    (folder / "model.safetensors").rename(folder / "sub/model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "sub/model.safetensors"}))
    common = [f"--maxact-model={folder}", f"--maxact-corpus={corpus}"]
    common += [f"--maxact-cache={tmp_path / 'cache'}"] if cache else []
    run_gate(pytester, *common, f"--maxact-save={tmp_path / 'one'}", exit=0)
    tiny.random_model("qwen3", seed=9).save_pretrained(tmp_path / "other")  # type: ignore[operator]
    shutil.copy(tmp_path / "other/model.safetensors", folder / "sub/model.safetensors")
    run_gate(pytester, *common, f"--maxact-save={tmp_path / 'two'}", exit=0)
    assert load(tmp_path / "one").provenance.weights_sha256 != load(tmp_path / "two").provenance.weights_sha256
    assert load(tmp_path / "one").sites != load(tmp_path / "two").sites


def test_a_context_shorter_than_the_text_heads_the_report_and_strict_refuses_it(
    checkpoint: Path, corpus: Path, tmp_path: Path, pytester: pytest.Pytester
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8}))
    common = [f"--maxact-model={folder}", f"--maxact-corpus={corpus}"]
    warning = "4 of 12 samples are cut to 8 tokens, for which alone the config states positions"
    run_gate(pytester, *common, exit=0, passed=CHECKS, says=[
        f"WARNING: {warning}", "57 different tokens, the longest sample 8 of 8 positions, 4 samples cut to 8",
    ])  # fmt: skip
    run_gate(pytester, *common, "--maxact-strict", exit=4)
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1}))
    run_gate(pytester, *common, refuses="every sample is cut to 1 token by max_position_embeddings of config.json")
