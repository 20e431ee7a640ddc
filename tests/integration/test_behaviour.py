"""A gate asks more than whether anything is large: does the model predict, does every layer do something, and is every
block where it was. What is broken in these ways fails without limits of anybody's; what is sound passes.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.record.file import save
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from tests.support.gate_runs import run_gate
from tests.support.trained import STEPS, TRAINED, Change, Tensors, changed, noise, swapped


def measured(folder: Path, **options: object) -> Record:
    settings = Settings(model=str(folder), max_samples=21, max_seq_len=300, **options)  # type: ignore[arg-type]
    return measure(prepare(settings), settings, "qwen3")


@pytest.fixture(scope="module")
def sound() -> Record:
    return measured(TRAINED)


def failing(record: Record, **options: object) -> dict[str, Finding]:
    return {one.limit.check: one for one in verdict(record, **options) if not one.accepted}  # type: ignore[arg-type]


def test_the_trained_checkpoint_holds_and_says_how_well_it_predicts(sound: Record) -> None:
    assert not failing(sound)
    assert sound.predictions is not None
    assert sound.predictions.margin > 0.5
    by_name = {one.category: one for one in sound.predictions.categories}
    assert by_name["code"].margin > 1
    assert by_name["chinese"].margin < -3, "it never read any"


@pytest.mark.parametrize("step", [900, 3600])
def test_so_do_the_checkpoints_of_its_run(step: int) -> None:
    assert not failing(measured(STEPS[step]))


# It predicts


def scaled(name: str, factor: float) -> Change:
    def scale(tensors: Tensors) -> None:
        tensors[name] = tensors[name] * factor

    return scale


def permuted(tensors: Tensors) -> None:
    """Rows of the embedding in another order, as under another model's tokenizer."""
    rows = tensors["model.embed_tokens.weight"]
    tensors["model.embed_tokens.weight"] = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]


def shifted(tensors: Tensors) -> None:
    """Every token is taken for the one before it, as where one was added at the front."""
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].roll(1, 0)


def unnormed(tensors: Tensors) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * -1


BROKEN: dict[str, Change] = {
    "noise": noise,
    "down_proj x 20": scaled("model.layers.3.mlp.down_proj.weight", 20),
    "embedding in another order": permuted,
    "tokens off by one": shifted,
    "first layer swapped": swapped(0, 3),
    "first down_proj swapped": swapped(0, 4, "down_proj"),
    "sign of the final norm": unnormed,
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_model_that_predicts_nothing_fails_without_limits_of_anybodys(how: str, tmp_path: Path) -> None:
    finding = failing(measured(changed(tmp_path / "m", BROKEN[how])))["predictions::margin"]
    assert finding.value < 0.25
    assert "it predicts none of this text: not trained or not loaded, layers out of order" in finding.message
    assert "thresholds.yaml" in finding.message


def texts(path: Path, kinds: dict[str, Callable[[int], str]]) -> Path:
    lines = [
        {"id": f"{kind}-{i}", "category": kind, "text": text(i)} for kind, text in kinds.items() for i in range(12)
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return path


def digits(seed: int) -> str:
    drawn = torch.randint(0, 16, (200,), generator=torch.Generator().manual_seed(seed)).tolist()
    return "".join("0123456789abcdef"[one] for one in drawn)


def code(seed: int) -> str:
    return f"def f{seed}(self, x):\n    if x is None:\n        return self.{'abcdefghijkl'[seed]}\n    return x\n" * 3


def test_text_that_a_model_never_read_is_told_apart_from_a_model_that_knows_none(tmp_path: Path) -> None:
    chinese = (TRAINED.parents[1] / "pytest_maxact/corpus/builtin/chinese.txt").read_text(encoding="utf-8")
    pages = [page for page in chinese.split("\n") if len(page) > 60]
    mixed = texts(tmp_path / "mixed.jsonl", {"code": code, "han": lambda i: pages[i], "more": lambda i: pages[i + 12]})
    message = failing(measured(TRAINED, corpus=str(mixed)))["predictions::margin"].message
    assert message.endswith("it predicts code, and not han, more, of which it may never have read any")


def test_a_corpus_of_ids_is_told_apart_from_a_broken_model(tmp_path: Path) -> None:
    ids = texts(tmp_path / "ids.jsonl", {"ids": digits})
    message = failing(measured(TRAINED, corpus=str(ids)))["predictions::margin"].message
    assert "it predicts none of this text" in message or "nothing to predict (ids, digits" in message


def test_a_head_that_is_not_finite_is_the_finding_before_any_scheme(pytester: pytest.Pytester, tmp_path: Path) -> None:
    def pad_is_nan(tensors: Tensors) -> None:
        tensors["model.embed_tokens.weight"][1] = torch.nan

    folder = changed(tmp_path / "m", pad_is_nan)
    save(measured(folder, deploy=("W8A8",)), pytester.path / "r")
    result = run_gate(
        pytester, "--maxact-replay=r", "--maxact-deploy=W8A8", exit=1,
        says=[
            "predictions: the model's own next-token distribution is NaN or infinite at",
            "no W8A8.mean_kl to tell: the unquantized model's own predictions are not finite, whatever the scheme",
        ],
        lacks=["nan exceeds"],
    )  # fmt: skip
    assert "predictions::nonfinite" in result.stdout.str()


# Every layer does something


def nearly_nothing(tensors: Tensors) -> None:
    for name in tensors:
        if "_proj" in name:
            tensors[name] = tensors[name] * 1e-6


def test_layers_that_do_nothing_fail_each_by_name(tmp_path: Path) -> None:
    found = failing(measured(changed(tmp_path / "m", nearly_nothing)))
    assert {f"layers.{i}.hidden::changed" for i in range(6)} <= found.keys()
    assert (
        "changes 0.00% of the residual stream's entries (first 256 tokens of"
        in found["layers.2.hidden::changed"].message
    )


def test_one_dead_block_fails_its_layer_and_a_waiver_lets_it_pass_by_name(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    folder = changed(tmp_path / "m", scaled("model.layers.3.self_attn.o_proj.weight", 1e-6))
    record = measured(folder)
    found = failing(record, family="generic")
    assert list(found) == ["layers.3.hidden::changed"]
    assert "the block behind attn_output changes" in found["layers.3.hidden::changed"].message
    save(record, pytester.path / "r")
    waiver = "{site: layers.3.hidden, metric: changed, reason: pruned, owner: a@b.c, until: 2027-03-01}"
    run_gate(
        pytester, "--maxact-replay=r", "--maxact-family=generic", "--maxact-limits=own.yaml",
        files={"own.yaml": f"version: 1\nextends: builtin\nwaive: [{waiver}]\n"},
        exit=0, says=["1 is waived"],
    )  # fmt: skip


# Every block is where it was


@pytest.mark.parametrize(("one", "other"), [(1, 2), (2, 3), (3, 4), (4, 5)])
@pytest.mark.parametrize("only", ["", "down_proj", "o_proj"])
def test_blocks_in_each_others_place_fail_against_a_baseline(
    one: int, other: int, only: str, sound: Record, tmp_path: Path
) -> None:
    """Neighbours of the middle, whose distributions are as alike as those of two steps of training."""
    after = measured(changed(tmp_path / "m", swapped(one, other, only)))
    found = failing(after, baselines={"v1": sound})
    turned = {check for check in found if "::turn[v1]" in check}
    kind = "attn_output" if only == "o_proj" else "mlp_output"
    assert {f"layers.{one}.{kind}::turn[v1]", f"layers.{other}.{kind}::turn[v1]"} <= turned
    assert "its outputs turned by" in found[f"layers.{one}.{kind}::turn[v1]"].message


def test_one_block_that_grew_fails_against_a_baseline(sound: Record, tmp_path: Path) -> None:
    after = measured(changed(tmp_path / "m", scaled("model.layers.2.mlp.down_proj.weight", 20)))
    found = failing(after, baselines={"v1": sound})
    assert {f"layers.2.mlp_output::{metric}[v1]" for metric in ("growth", "shift")} <= found.keys()


@pytest.mark.parametrize("batch_tokens", [1, 700, 100_000])
def test_the_same_model_in_other_batches_is_far_from_every_bound(batch_tokens: int, sound: Record) -> None:
    again = measured(TRAINED, batch_tokens=batch_tokens)
    for finding in verdict(again, baselines={"v1": sound}):
        assert finding.accepted
        if finding.limit.metric.name in ("shift", "turn"):
            assert finding.value < 0.01


def test_a_step_of_training_is_no_change_of_places(sound: Record) -> None:
    assert not failing(sound, baselines={"step-3600": measured(STEPS[3600])})


# What is not asked, and what cannot be told, is said


def test_null_is_the_only_way_not_to_ask(sound: Record, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    family = "families: {q: {model_types: [qwen3], limits: {hidden: 9000}}}\n"
    own.write_text(f"version: 1\n{family}")
    assert {"predictions::margin", "layers.0.hidden::changed"} <= {
        finding.limit.check for finding in verdict(sound, load_limits(own))
    }
    own.write_text(f"version: 1\ngeneric: {{min_margin: null, min_changed: null}}\n{family}")
    found = {finding.limit.check for finding in verdict(sound, load_limits(own))}
    assert "predictions::nonfinite" in found
    assert not {check for check in found if check.endswith(("::margin", "::changed"))}
    own.write_text(f"version: 1\ngeneric: {{min_margin: 5}}\n{family}")
    (finding,) = (f for f in verdict(sound, load_limits(own)) if f.limit.check == "predictions::margin")
    assert not finding.passed
    assert "own.yaml:2" in finding.message


def test_a_model_without_a_head_is_judged_and_says_so(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(
        pytester, f"--maxact-replay={saved}", exit=0,
        says=["predicts unchecked: config.json names Qwen3Model, which has no LM head"],
    )  # fmt: skip


def test_a_record_of_an_earlier_version_says_what_it_cannot_tell(pytester: pytest.Pytester) -> None:
    kept = Path(__file__).parents[1] / "data" / "records" / "bfloat16.safetensors"
    shutil.copy(kept, pytester.path / "r")
    run_gate(
        pytester, "--maxact-replay=r", "--maxact-family=generic", exit=0,
        says=[
            "predicts unchecked: this Record is of an earlier version; measure again",
            "layers unchecked whether each does something: this Record is of an earlier version",
        ],
    )  # fmt: skip
