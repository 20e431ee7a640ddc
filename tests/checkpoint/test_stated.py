"""What headers, config and tokenizer say together: a dtype that no config states, a head beside a tied one, tokens
without a row.
"""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.settings.settings import Settings
from pytest_maxact.settings.userfiles import BOM
from tests.support import tiny
from tests.support.gate_runs import run_gate
from tests.support.measuring import record_of
from tests.support.quantized import restated, rewritten


@pytest.fixture
def model(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = tiny.config_of("qwen3", tie_word_embeddings=True)
    return tiny.save(tmp_path / "tied", AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def with_head(folder: Path, factor: float) -> Path:
    return rewritten(
        folder, lambda tensors: {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"] * factor}
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_dtype_that_no_config_states_is_read_from_headers_and_loaded(
    dtype: torch.dtype, model: Path, corpus: Path
) -> None:
    rewritten(model, lambda tensors: {name: t.to(dtype) for name, t in tensors.items()})
    rewritten(model, lambda tensors: {**tensors, "embed_tokens.weight": tensors["embed_tokens.weight"].double()})
    restated(model, dtype=None, torch_dtype=None)
    settings = Settings(model=str(model), corpus=str(corpus))
    name = str(dtype).removeprefix("torch.")
    assert prepare(settings).dtype == name
    assert load(locate(settings), settings).dtype == name


def test_a_baseline_of_another_dtype_is_refused_before_loading_where_no_config_states_one(
    model: Path, checkpoint: Path, corpus: Path, tmp_path: Path, pytester: pytest.Pytester
) -> None:
    other = Path(shutil.copytree(model, tmp_path / "other"))
    rewritten(other, lambda tensors: {name: t.bfloat16() for name, t in tensors.items()})
    for folder in (model, other):
        restated(folder, dtype=None, torch_dtype=None)
    common = [f"--maxact-model={model}", f"--maxact-corpus={corpus}", f"--maxact-baseline={other}"]
    run_gate(pytester, *common, refuses="differ in dtype (bfloat16 there, float32 here)", lacks=["FAILED"])


@pytest.mark.parametrize(("factor", "remarked"), [(2.0, True), (1.0, False)])
def test_a_head_that_differs_from_the_embedding_it_is_tied_to_is_said_with_which_is_used(
    factor: float, remarked: bool, tied: Path, corpus: Path
) -> None:
    settings = Settings(model=str(with_head(tied, factor)), corpus=str(corpus))
    remarks = prepare(settings).remarks
    said = "config.json ties lm_head.weight to model.embed_tokens.weight"
    assert [remark.startswith(said) for remark in remarks] == [True] * remarked
    head = load(locate(settings), settings).headed
    assert head is not None
    assert (head.get_parameter("lm_head.weight") is head.get_parameter("model.embed_tokens.weight")) != remarked


def test_it_heads_the_report_and_strict_refuses_it(tied: Path, corpus: Path, pytester: pytest.Pytester) -> None:
    common = [f"--maxact-model={with_head(tied, 2.0)}", f"--maxact-corpus={corpus}"]
    words = (
        "config.json ties lm_head.weight to model.embed_tokens.weight (tie_word_embeddings), and the files hold both"
    )
    run_gate(pytester, *common, "-k", "max_abs", says=[f"WARNING: {words}"])
    run_gate(pytester, *common, "--maxact-strict", refuses=words)


def test_a_byte_order_mark_of_the_config_is_remarked(model: Path, corpus: Path) -> None:
    (model / "config.json").write_bytes(BOM + (model / "config.json").read_bytes())
    record = record_of(model, corpus)
    assert record.provenance.remarks[0].startswith("config.json begins with a byte order mark")


def test_tokens_without_a_row_are_said_to_have_none(model: Path, corpus: Path) -> None:
    assert not any("the embedding has" in part for part in record_of(model, corpus).provenance.left_out)
    tokenizer = tiny.word_tokenizer()
    tokenizer.add_tokens(["<extra>", "<more>"])
    tokenizer.save_pretrained(model)
    words = (
        "<extra> (64) and 1 more tokens of the tokenizer: the embedding has 64 rows, so a text with one cannot be read"
    )
    assert words in record_of(model, corpus).provenance.left_out
