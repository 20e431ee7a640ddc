"""What the static scales of an artifact quantize is read without being asked for, and feeds their checks alone: every
other figure is what it would be without.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from pytest_maxact.checkpoint.sites import linears
from pytest_maxact.errors import InputError
from pytest_maxact.judge.verdict.scales import scale_remarks, unread_calls
from pytest_maxact.measure.observe.accumulate import bytes_of_a_site
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.provenance import content_of
from pytest_maxact.measure.scaled import narrowed
from pytest_maxact.numbers.static import StaticScale
from pytest_maxact.record.comparability import record_differences
from pytest_maxact.record.file import load, save
from pytest_maxact.record.merge import merge
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.exports import compressed, modelopt
from tests.support.measuring import as_parts_add_up, record_of
from tests.support.static_scales import artifact, measured


def apart(record: Record) -> set[str]:
    return {reading.site.kind for reading in record.scaled.values()}


def changed(folder: Path, target: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], None]) -> Path:
    """A copy of an artifact whose tensors and `quantization_config` were changed."""
    tensors, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    change(tensors, config["quantization_config"])
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_corpus(tmp_path_factory.mktemp("words") / "c.jsonl", tiny.sentences([9, 14, 5, 17, 11, 8]))


def test_scales_are_held_as_where_every_site_is_asked_for() -> None:
    plain, whole = measured("auto"), measured("all")
    assert plain.static == whole.static
    assert len(plain.static or ()) == 36
    assert apart(plain) == {"qkv_in", "o_in", "mlp_in", "down_in", "k", "v"}, "no queries, which have no scale"
    assert plain.observed.keys() < whole.sites.keys()


def test_every_other_figure_is_what_it_is_without() -> None:
    plain, without = measured("auto"), measured("paper")
    assert without.scaled == {}
    assert without.static is None
    assert plain.sites == without.sites
    assert plain.provenance == without.provenance
    assert plain.token_texts == without.token_texts
    assert plain.predictions == without.predictions
    assert plain.logits is None
    assert record_differences(plain, without) == []


def test_it_comes_back_from_a_file_whole_and_slim(tmp_path: Path) -> None:
    record = measured("auto")
    for name, one in (("whole", record), ("slim", summary(record))):
        save(one, tmp_path / name)
        assert load(tmp_path / name) == one


def test_parts_of_a_corpus_add_up_to_the_whole(words: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", "FP8", kind="qwen3_moe", reach=50.0, kv_cache=True)
    common = {"batch_tokens": 24, "family": "generic"}
    parts = [record_of(folder, words, shard=f"{part}/2", **common) for part in (1, 2)]
    whole = record_of(folder, words, **common)
    assert len(whole.scaled) == 12
    assert merge(parts[::-1]) == as_parts_add_up(whole)
    with pytest.raises(InputError, match="they observed different sites"):
        merge([parts[0], record_of(folder, words, shard="2/2", sites="paper", **common)])


def test_what_is_repeated_or_stopped_early_is_of_asked_sites(words: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", "FP8", reach=50.0)
    again = record_of(folder, words, repeat=3)
    assert again.noise is not None
    assert again.noise.sites.keys() == again.sites.keys()
    early = record_of(folder, words, until_saturated=8, batch_tokens=16)
    assert early.scaled.keys() == again.scaled.keys()
    for name, one in (("again", again), ("early", early)):
        save(one, tmp_path / name)
        load(tmp_path / name)


def test_modules_without_a_scale_are_not_read(words: Path, tmp_path: Path) -> None:
    modules = [f"model.layers.{layer}.{name}" for layer in (0, 1) for name in ("self_attn.o_proj", "mlp.down_proj")]
    folder = compressed.export(tmp_path / "m", "FP8", reach=50.0, ignore=(*modules, "model.layers.0.mlp.up_proj"))
    record = record_of(folder, words)
    assert apart(record) == {"qkv_in", "mlp_in"}
    shared = record.scaled["layers.0.mlp_in"].shared
    assert [path.rpartition(".")[2] for path in shared] == ["gate_proj"]


def test_an_artifact_without_static_scales_is_read_as_ever(words: Path, tmp_path: Path) -> None:
    record = record_of(compressed.export(tmp_path / "m", "W8A8"), words)
    assert record.scaled == {}
    assert record.static is None


@pytest.mark.parametrize("algo", ["FP8", "NVFP4"])
def test_exports_of_modelopt_have_theirs_read(algo: str, words: Path, tmp_path: Path) -> None:
    record = record_of(modelopt.export(tmp_path / "m", algo, kv_cache=True), words)
    assert apart(record) == {"qkv_in", "o_in", "mlp_in", "down_in", "k", "v"}


def test_latent_attention_has_its_state_read_and_no_keys(words: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "deepseek_v3", vocab_size=128, hidden_size=256, intermediate_size=384, moe_intermediate_size=128,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2,
        n_group=1, topk_group=1, kv_lora_rank=128, q_lora_rank=128, qk_rope_head_dim=32, qk_nope_head_dim=32,
        v_head_dim=32, n_shared_experts=1, first_k_dense_replace=1,
    )  # fmt: skip
    source = tiny.save(tmp_path / "source", AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16))
    folder = changed(
        compressed.export(tmp_path / "m", "FP8", source, kv_cache=True, reach=50.0), tmp_path / "cached",
        lambda tensors, _: tensors.update(
            {f"model.layers.{layer}.self_attn.{part}_scale": torch.tensor([0.02]) for layer in (0, 1) for part in "kv"}
        ),
    )  # fmt: skip
    record, whole = record_of(folder, words), record_of(folder, words, sites="all")
    assert apart(record) == {"qkv_in", "o_in", "mlp_in", "down_in", "kv_latent"}
    assert record.static == whole.static
    save(record, tmp_path / "record")
    assert load(tmp_path / "record").static == record.static


def test_scales_of_queries_are_read_too(words: Path, tmp_path: Path) -> None:
    folder = changed(
        compressed.export(tmp_path / "m", "W8A8", kv_cache=True), tmp_path / "queries",
        lambda tensors, _: tensors.update({"model.layers.1.self_attn.q_scale": torch.tensor([0.02])}),
    )  # fmt: skip
    record = record_of(folder, words)
    assert set(record.scaled) == {"layers.0.k", "layers.0.v", "layers.1.q", "layers.1.k", "layers.1.v"}
    assert record.logits is None
    assert [held.site for held in record.static or ()].count("layers.1.q") == 1


def test_where_none_is_there_though_they_are_called_for_all_are_read_and_fail(words: Path, tmp_path: Path) -> None:
    def without(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.endswith(("k_scale", "v_scale"))]:
            del tensors[name]

    folder = changed(compressed.export(tmp_path / "m", "W8A8", kv_cache=True), tmp_path / "bare", without)
    record = record_of(folder, words)
    assert apart(record) == {"q", "k", "v"}
    assert record.static == ()
    assert unread_calls(record) == []


@pytest.mark.parametrize("name", ["lm_head", "visual.blocks.0.layers.1.mlp.down_proj"])
@pytest.mark.parametrize("sites", ["auto", "deploy"])
def test_a_scale_of_what_is_not_read_is_told(name: str, sites: str, words: Path, tmp_path: Path) -> None:
    """One of a tower is of no layer of the decoder that is called alike."""

    def beside(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
        config["ignore"].remove("lm_head")
        tensors[f"{name}.input_scale"] = torch.tensor([0.02])

    fair = compressed.export(tmp_path / "m", "FP8", reach=50.0)
    assert not [one for one in scale_remarks(record_of(fair, words, sites=sites)) if "NOT checked" in one]
    record = record_of(changed(fair, tmp_path / "beside", beside), words, sites=sites)
    told = f"1 static scale is NOT checked, of what is not observed, the first {name}.input_scale"
    assert told in list(scale_remarks(record))
    assert len(record.static or ()) == 8


def test_where_its_sites_cannot_be_found_it_is_said_to_be_unchecked(
    words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise InputError("experts of which nothing is known")

    folder = compressed.export(tmp_path / "m", "FP8", reach=50.0, kv_cache=True)
    monkeypatch.setattr("pytest_maxact.checkpoint.sites.resolve.linear_taps", refused)
    assert linears.linear_taps is not refused
    record = record_of(folder, words)
    assert apart(record) == {"k", "v"}, "those of the cache are held all the same"
    (remark,) = [one for one in scale_remarks(record) if "NOT checked" in one]
    assert remark.startswith("static scales are NOT checked: config.json calls for them for inputs, which were not")


def prepared(sites: str) -> Prepared:
    return prepare(Settings(model=str(artifact()), sites=sites, max_samples=12, max_seq_len=64))


def test_it_is_another_measurement_than_one_without() -> None:
    contents = []
    for sites in ("auto", "paper", "all"):
        settings = Settings(model=str(artifact()), sites=sites, max_samples=12, max_seq_len=64)
        contents.append(content_of(prepared(sites), settings, "", ()))
    assert contents[0] != contents[1] != contents[2] != contents[0]


def test_the_plan_counts_what_is_read_for_scales_in_both_passes() -> None:
    """The second is over samples as they are deployed."""
    needs = {sites: prepared(sites).placement for sites in ("paper", "auto", "all")}
    paper, auto, whole = (one.need.accumulators if one and one.need else 0 for one in needs.values())
    sites = {sites: len(prepared(sites).anatomy.sites) for sites in needs}
    assert paper == sites["paper"] * bytes_of_a_site()
    assert auto == 2 * sites["auto"] * bytes_of_a_site()
    assert whole == 2 * sites["all"] * bytes_of_a_site()


def test_limits_and_comparisons_are_given_asked_sites_alone() -> None:
    plain, without = prepared("auto"), prepared("paper")
    assert plain.sites == without.sites
    assert plain.identity == replace(without.identity, static=True)
    assert plain.deployed == without.deployed
    assert plain.anatomy.left_out == without.anatomy.left_out


def test_a_scale_of_an_expert_keeps_the_stack_that_it_lies_in(words: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", "FP8", kind="qwen3_moe", reach=50.0)
    anatomy = prepare(Settings(model=str(folder), corpus=str(words))).anatomy
    name = "model.layers.1.mlp.experts.3.down_proj"
    scale = StaticScale(
        tensor=f"{name}.input_scale", module=name, part="input", number="fp8_e4m3", stated=1.0, reach=448.0, layer=1,
        expert=3,
    )  # fmt: skip
    assert narrowed(anatomy, [scale]).scaled == {"layers.1.mlp_in", "layers.1.down_in"}
    assert narrowed(anatomy, []).scaled == anatomy.scaled
    assert narrowed(anatomy.asked, [scale]).outline == anatomy.asked.outline
