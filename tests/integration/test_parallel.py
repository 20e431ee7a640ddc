"""The gate over a model that two ranks hold together: the Record is that of one process, but for what the order of sums
changes, and what cannot be split is refused by its name.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from pytest_maxact.record.file import load
from pytest_maxact.record.reading import distributions_of
from pytest_maxact.record.record import Record
from tests.support.headed import headed
from tests.support.measuring import record_of, within_one_step
from tests.support.torchrun import torchrun

pytestmark = pytest.mark.usefixtures("warm_children")
SCHEMES = ("W8A8", "W8A8_STATIC", "FP16")
SUMS = 1e-4
"""Products that two ranks add up differ in the last bits of float32, which layers hand on."""
BROKEN = """
import os
from pytest_maxact.measure.ranks.parallel import Parallel

if os.environ.get("RANK") == "1":
    meets = Parallel.meets

    def fails(self, planned, fidelity):
        meets(self, planned, fidelity)
        raise RuntimeError("this rank has had enough")

    Parallel.meets = fails
"""
BROKEN_ONCE = BROKEN.replace(
    "raise RuntimeError",
    "if not os.path.exists('broke'):\n            open('broke', 'w').close()\n            raise RuntimeError",
)
assert BROKEN_ONCE != BROKEN


def measured(folder: Path, model: Path, corpus: Path, *more: str, ranks: int = 2) -> "tuple[str, int]":
    run = torchrun(
        folder, "pytest", f"--maxact-model={model}", f"--maxact-corpus={corpus}", "--maxact-batch-tokens=24",
        "--maxact-family=generic", "--maxact-device=tensor-parallel", "--maxact-dtype=fp32", *more, ranks=ranks,
    )  # fmt: skip
    return run.stdout + run.stderr, run.returncode


def same_but_for_sums(two: Record, one: Record) -> None:
    """Counts of tokens, entries, experts and places are the same; figures differ by `SUMS`, and no entry of a
    histogram has moved by more than a bin.
    """
    assert two.sites.keys() == one.sites.keys()
    for name, reading in one.sites.items():
        mine = two[name]
        assert (mine.width, mine.heads, mine.dtype, mine.shared) == (
            reading.width, reading.heads, reading.dtype, reading.shared,
        )  # fmt: skip
        assert mine.tokens_per_expert == reading.tokens_per_expert, name
        assert mine.finite_max == pytest.approx(reading.finite_max, rel=SUMS), name
        assert [(p.sample, p.position, p.channel, p.part) for p in mine.peaks[:1]] == [
            (p.sample, p.position, p.channel, p.part) for p in reading.peaks[:1]
        ], name
        ours, theirs = distributions_of(mine), distributions_of(reading)
        for split in ("calibration", "evaluation"):
            a, b = (getattr(held, split).dense() for held in (ours, theirs))
            assert a.sum() == b.sum(), name
            assert within_one_step(a, b), (name, split)
        assert ours.schemes.keys() == theirs.schemes.keys()
        for scheme, sums in theirs.schemes.items():
            mine_sums = ours.schemes[scheme]
            for key in ("tokens", "entries", "calm_tokens"):
                assert getattr(mine_sums, key) == getattr(sums, key), (name, scheme, key)
            for key in ("signal", "error"):
                assert asdict(mine_sums)[key] == pytest.approx(asdict(sums)[key], rel=0.02), (name, scheme, key)
        if theirs.channels is not None:
            assert ours.channels is not None
            for part, maxima in theirs.channels.parts.items():
                np.testing.assert_allclose(ours.channels.parts[part], maxima, rtol=SUMS, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe"])
def test_the_record_of_two_ranks_is_that_of_one_process_but_for_sums(family: str, corpus: Path, tmp_path: Path) -> None:
    model = headed(tmp_path / family, model_type=family, **({"mlp_only_layers": [2]} if "moe" in family else {}))
    out, code = measured(
        tmp_path, model, corpus, "--maxact-save=run.safetensors", f"--maxact-schemes={','.join(SCHEMES)}",
        "--maxact-sites=all", "--deselect=maxact::predictions::margin",
    )  # fmt: skip
    assert code == 0, out
    assert "tensor-parallel over 2 ranks" in out
    two = load(tmp_path / "run.safetensors")
    one = record_of(model, corpus, batch_tokens=24, schemes=SCHEMES, dtype="fp32", sites="all")
    same_but_for_sums(two, one)
    assert two.provenance.placement == "tensor-parallel over 2 ranks"
    assert two.provenance.arithmetic == "native, tensor-parallel over 2 ranks"
    assert two.provenance.batching == one.provenance.batching
    assert two.weights == one.weights
    assert [found.layer for found in two.scores or ()] == [found.layer for found in one.scores or ()]
    assert [len(found.heads) for found in two.logits or ()] == [len(found.heads) for found in one.logits or ()] != []
    for mine, theirs in zip(two.logits or (), one.logits or (), strict=True):
        assert mine.heads == pytest.approx(theirs.heads, rel=SUMS, abs=SUMS)
    assert two.predictions is not None
    assert one.predictions is not None
    assert two.predictions.tokens == one.predictions.tokens


def test_a_rank_that_fails_fails_the_run_with_its_number_and_cause(corpus: Path, tmp_path: Path) -> None:
    model = headed(tmp_path / "model")
    (tmp_path / "conftest.py").write_text(BROKEN)
    out, code = measured(tmp_path, model, corpus, "--maxact-save=run.safetensors")
    assert code == 1
    said = " ".join(out.split())
    assert "rank 1 of 2 could not measure its share: RuntimeError: this rank has had enough" in said
    assert not (tmp_path / "run.safetensors").exists()


def test_a_rank_that_fails_takes_part_in_the_next_checkpoint(corpus: Path, tmp_path: Path) -> None:
    """What it held of the one that is measured first is given back, so that nobody waits for it."""
    models = [headed(tmp_path / name) for name in ("step-1", "step-2")]
    (tmp_path / "conftest.py").write_text(BROKEN_ONCE)
    out, code = measured(
        tmp_path, tmp_path / "step-*", corpus, "--maxact-cache=kept", "--deselect=maxact::predictions::margin",
        "-pno:randomly",
    )  # fmt: skip
    said = " ".join(out.split())
    assert code == 1
    assert "rank 1 of 2 could not measure its share: RuntimeError: this rank has had enough" in said
    kept = [load(path) for path in (tmp_path / "kept").glob("*.safetensors")]
    assert [record.provenance.model for record in kept] == [str(models[1])], out


def test_heads_that_do_not_divide_are_refused_by_name(corpus: Path, tmp_path: Path) -> None:
    model = headed(tmp_path / "model", num_key_value_heads=1)
    out, code = measured(tmp_path, model, corpus)
    assert code != 0
    assert "the 1 heads of model.layers.0.self_attn.k_proj do not divide over 2 ranks" in " ".join(out.split())
