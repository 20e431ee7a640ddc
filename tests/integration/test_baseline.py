"""A checkpoint against a baseline: what differs is found and named, what does not raises no alarm, what cannot be
compared is refused.
"""

import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pytest_maxact.judge.parting import against
from pytest_maxact.record.file import load, save
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from pytest_maxact.report.terminal.compare import against_words
from tests.support import tiny
from tests.support.gate_runs import CHECKS, RELATIVE, SHIFTS, run_gate
from tests.support.measuring import record_of as tiny_record
from tests.support.trained import STEPS, TRAINED, changes, record_of, scale_weight


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def saved_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained checkpoint after loading and saving, in other files."""
    folder = tmp_path_factory.mktemp("again") / "model"
    shutil.copytree(TRAINED, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    AutoModelForCausalLM.from_pretrained(TRAINED, dtype="auto").save_pretrained(folder, max_shard_size="400KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


# No false alarm


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.usefixtures("threads")
def test_a_model_against_itself_raises_no_alarm_whatever_its_batches_threads_and_files(
    dtype: str, saved_again: Path
) -> None:
    """Every pair of a thread count, a batch plan and files, in either dtype."""
    alike = {"max_samples": 5, "max_seq_len": 96, "dtype": dtype}
    baseline = record_of(TRAINED, **alike)
    plans = set()
    for (rank, threads), (place, batch_tokens) in product(enumerate((1, 2, 3)), enumerate((1, 250, 8192))):
        torch.set_num_threads(threads)
        other = record_of((TRAINED, saved_again)[(rank + place) % 2], **alike, batch_tokens=batch_tokens)
        plans.add(other.provenance.batching["batches"])
        failed = [finding.message for finding in changes(baseline, other) if not finding.passed]
        assert not failed
    assert len(plans) == 3


def test_against_itself_the_report_says_so(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, saved: Path
) -> None:
    common = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}")
    run_gate(
        pytester,
        *common,
        f"--maxact-baseline={saved}",
        passed=CHECKS + RELATIVE,
        report=["against   saved: M * in *, now *", "*it holds the same weights: compared with itself"],
    )


# What differs is found


@pytest.fixture(scope="module")
def step_3600() -> Record:
    return record_of(STEPS[3600])


def test_between_two_late_checkpoints_nothing_changed_too_much(step_3600: Record) -> None:
    assert all(finding.passed for finding in changes(step_3600, record_of(TRAINED)))


WEIGHTS = (
    "input_layernorm",
    "post_attention_layernorm",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


@pytest.mark.parametrize(("layer", "weight"), [(1 + place % 5, weight) for place, weight in enumerate(WEIGHTS)])
def test_one_weight_scaled_by_50_is_found_in_its_layer(
    layer: int, weight: str, step_3600: Record, tmp_path: Path
) -> None:
    folder = shutil.copytree(TRAINED, tmp_path / "model")
    scale_weight(folder, f"model.layers.{layer}.{weight}.weight", 50.0)
    after = record_of(folder)
    findings = changes(step_3600, after)
    assert not all(finding.passed for finding in findings)
    assert against_words(against("v1", step_3600, after, findings)).plain.startswith(f"they part at layer {layer}: ")


@pytest.mark.parametrize("weight", ["q_norm", "k_norm"])
def test_attention_that_became_sharper_shows_in_no_maximum_but_in_the_distribution(
    weight: str, step_3600: Record, tmp_path: Path
) -> None:
    folder = shutil.copytree(TRAINED, tmp_path / "model")
    scale_weight(folder, f"model.layers.3.self_attn.{weight}.weight", 50.0)
    after = record_of(folder)
    findings = changes(step_3600, after)
    assert all(finding.passed for finding in findings)
    words = against_words(against("v1", step_3600, after, findings)).plain
    assert words.startswith("they differ most at layers.3.attn_output, whose distribution shifted by 0.2")


def test_a_limit_on_the_shift_of_distributions_finds_it(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, tmp_path: Path
) -> None:
    model = tiny.random_model("qwen3")
    with torch.no_grad():
        model.layers[1].self_attn.q_norm.weight.mul_(50.0)
    tiny.save(tmp_path / "sharp", model)
    common = (f"--maxact-model={tmp_path / 'sharp'}", f"--maxact-corpus={corpus}", f"--maxact-baseline={checkpoint}")
    run_gate(
        pytester,
        *common,
        "--maxact-limits=limits.yaml",
        files={"limits.yaml": "version: 1\nextends: builtin\nregression: {max_shift: 0.05}\n"},
        exit=1,
        report=["*they part at layer 1: *", "FAILED maxact::layers.1.attn_output::shift[[]qwen3[]]*"],
    )


# Baselines of every kind


def test_a_checkpoint_as_baseline_is_measured_likewise_and_kept(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    options = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", f"--maxact-baseline={checkpoint}")
    run_gate(pytester, *options, passed=CHECKS + RELATIVE)
    assert len(list((pytester.path / ".pytest_cache" / "d" / "maxact").glob("*.safetensors"))) == 1


def test_two_baselines_are_two_sets_of_checks(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, saved: Path
) -> None:
    options = (f"--maxact-replay={saved}", f"--maxact-baseline={saved}")
    other = pytester.path / "old.safetensors"
    save(load(saved), other)
    run_gate(
        pytester,
        *options,
        f"--maxact-baseline={other}",
        passed=CHECKS + 2 * RELATIVE,
        report=["maxact: *, baseline saved, baseline old", "against   saved: *", "against   old: *"],
    )


def test_a_slim_baseline_serves_as_a_full_one_but_for_distributions(pytester: pytest.Pytester, saved: Path) -> None:
    save(summary(load(saved)), pytester.path / "slim.safetensors")
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-baseline=slim.safetensors",
        passed=CHECKS + RELATIVE - SHIFTS,
        says=["slim Records keep no distributions to compare"],
    )


def test_under_schemes_inputs_and_weights_may_lose_no_more_than_the_limit(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, tmp_path: Path
) -> None:
    model = tiny.random_model("qwen3")
    with torch.no_grad():
        model.layers[1].mlp.down_proj.weight[:, 0] *= 60.0
    tiny.save(tmp_path / "lossy", model)
    options = (
        f"--maxact-model={tmp_path / 'lossy'}",
        f"--maxact-corpus={corpus}",
        "--maxact-schemes=W8A8",
        "--maxact-limits=limits.yaml",
    )
    run_gate(
        pytester,
        *options,
        f"--maxact-baseline={checkpoint}",
        files={"limits.yaml": "version: 1\nextends: builtin\nregression: {sqnr_floor_db: 60}\n"},
        exit=1,
        report=["layers.1.down_in: W8A8.weight_sqnr_db fell by * dB, from * to *, which exceeds the limit 3; *"],
        says=["maxact::layers.1.down_in::W8A8.weight_sqnr_db.drop[qwen3]"],
    )


# What cannot be compared


def test_distributions_that_a_slim_baseline_lacks_are_asked_for_in_vain(
    pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    save(summary(load(saved)), pytester.path / "slim.safetensors")
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-baseline=slim.safetensors",
        "--maxact-limits=limits.yaml",
        files={"limits.yaml": "version: 1\nextends: builtin\nregression: {max_shift: 0.05}\n"},
        exit=4,
        complaints=[
            "ERROR: *limits.yaml:3: max_shift compares distributions, and the Record slim.safetensors is slim*"
        ],
    )


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("--maxact-protocol=deployed", "protocol (paper there, deployed here)"),
        ("--maxact-dtype=bf16", "dtype (float32 there, bfloat16 here)"),
        ("--maxact-max-seq-len=5", "max_seq_len (256 there, 5 here)"),
        ("--maxact-max-samples=6", "corpus_sha256 (*; 12 samples there, 6 here"),
    ],
)
def test_a_baseline_measured_otherwise_is_refused_before_any_weights_load(
    option: str, field: str, pytester: pytest.Pytester, checkpoint: Path, corpus: Path, saved: Path
) -> None:
    family = "--maxact-family=generic"
    run_gate(
        pytester,
        f"--maxact-model={checkpoint}",
        f"--maxact-corpus={corpus}",
        f"--maxact-baseline={saved}",
        option,
        family,
        exit=4,
        complaints=[f"ERROR: --maxact-baseline {saved} cannot be compared with *: they differ in {field}*"],
    )


def test_a_baseline_of_another_tokenizer_is_refused(
    pytester: pytest.Pytester, corpus: Path, saved: Path, tmp_path: Path
) -> None:
    other = tiny.save(tmp_path / "other", tiny.random_model("qwen3"), tiny.word_tokenizer(reverse=True))
    run_gate(
        pytester,
        f"--maxact-model={other}",
        f"--maxact-corpus={corpus}",
        f"--maxact-baseline={saved}",
        exit=4,
        complaints=["*they differ in tokenizer_sha256 (*"],
    )


def test_a_baseline_of_another_depth_is_refused(
    pytester: pytest.Pytester, corpus: Path, saved: Path, tmp_path: Path
) -> None:
    deeper = tiny.save(tmp_path / "deeper", tiny.random_model("qwen3", num_hidden_layers=4))
    run_gate(
        pytester,
        f"--maxact-model={deeper}",
        f"--maxact-corpus={corpus}",
        f"--maxact-baseline={saved}",
        exit=4,
        complaints=["*it has no layers.3.hidden, so not every site could be (4 such sites)"],
    )


def test_a_baseline_of_another_metric_version_is_refused(
    pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    record = load(saved)
    save(replace(record, metric_version=record.metric_version - 1), pytester.path / "old.safetensors")
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-baseline=old.safetensors",
        exit=4,
        complaints=["ERROR: old.safetensors: measured with metric version *"],
    )


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        ("nowhere.safetensors", "no such file; beside --maxact-replay a baseline is a Record's file"),
        (".", "is a folder; beside --maxact-replay a baseline is a Record's file"),
        ("*.safetensors", "is a pattern, and a baseline is one Record or one checkpoint"),
    ],
)
def test_a_baseline_that_is_not_there_is_refused(
    baseline: str, words: str, pytester: pytest.Pytester, saved: Path
) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-baseline={baseline}",
        exit=4,
        complaints=[f"ERROR: --maxact-baseline {baseline}: {words}"],
    )


def test_a_record_that_is_missing_is_not_looked_for_on_the_hub(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    options = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--maxact-baseline=nowhere.safetensors")
    run_gate(pytester, *options, exit=4, complaints=["ERROR: --maxact-baseline nowhere.safetensors: no such file"])


def test_a_broken_baseline_is_refused(pytester: pytest.Pytester, corpus: Path, saved: Path, tmp_path: Path) -> None:
    model = tiny.random_model("qwen3")
    with torch.no_grad():
        model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    save(tiny_record(tiny.save(tmp_path / "broken", model), corpus), pytester.path / "broken.safetensors")
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-baseline=broken.safetensors",
        exit=4,
        complaints=["*layers.1.mlp_output holds NaN or infinite entries, so nothing can be compared with it"],
    )


def test_a_checkpoint_that_turns_out_broken_is_no_baseline(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, tmp_path: Path
) -> None:
    model = tiny.random_model("qwen3")
    with torch.no_grad():
        model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    broken = tiny.save(tmp_path / "broken", model)
    options = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", f"--maxact-baseline={broken}")
    run_gate(
        pytester,
        *options,
        passed=CHECKS,
        failed=RELATIVE,
        says=[
            f"FAIL: {RELATIVE} checks could not be judged: broken is broken itself, "
            "layers.1.mlp_output has entries that are NaN or infinite"
        ],
    )


def test_a_broken_checkpoint_fails_against_a_sound_baseline(
    pytester: pytest.Pytester, corpus: Path, saved: Path, tmp_path: Path
) -> None:
    model = tiny.random_model("qwen3")
    with torch.no_grad():
        model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    broken = tiny.save(tmp_path / "broken", model)
    result = run_gate(
        pytester, f"--maxact-model={broken}", f"--maxact-corpus={corpus}", f"--maxact-baseline={saved}", "-k", "saved"
    )
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] > 10
    result.stdout.fnmatch_lines(
        ["FAILED maxact::layers.1.mlp_output::growth[[]saved[]]*", "FAILED maxact::model::jump_shift[[]saved[]]*"]
    )


def test_limits_without_a_relative_one_are_refused(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-baseline={saved}",
        "--maxact-limits=limits.yaml",
        files={"limits.yaml": "version: 1\nfamilies: {q: {model_types: [qwen3], limits: {hidden: 1000}}}\n"},
        exit=4,
        complaints=["ERROR: limits.yaml sets no relative limit, so nothing would be compared with saved"],
    )
