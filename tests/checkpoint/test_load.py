"""Loading: a path or a hub id, pinned; and what is refused before or while weights load, each with its exit code and
words.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_maxact.checkpoint.device import pick_device
from pytest_maxact.checkpoint.digest import weights_digest
from pytest_maxact.checkpoint.files import weight_files
from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.provenance import expected_footing
from pytest_maxact.measure.run import measure
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.measuring import record_of
from tests.support.quantized import restated, rewritten

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint of one's own to spoil."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def hub_cache(root: Path, checkpoint: Path, name: str = "org/tiny") -> Path:
    """The checkpoint in the hub's own cache layout: blobs, a snapshot of links, a ref."""
    repository = root / f"models--{name.replace('/', '--')}"
    (repository / "blobs").mkdir(parents=True)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for i, file in enumerate(sorted(checkpoint.iterdir())):
        blob = repository / "blobs" / f"{i:064x}"
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return root


@pytest.fixture
def hub(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with org/tiny in it, and no network."""
    cache = hub_cache(tmp_path / "hub", checkpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return cache


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_hub_id_loads_offline_from_the_hubs_own_cache(
    revision: str | None, hub: Path, corpus: Path, checkpoint: Path
) -> None:
    settings = Settings(model="org/tiny", revision=revision)
    found = locate(settings)
    assert found.is_hub
    assert found.revision == COMMIT
    record = record_of(Path("org/tiny"), corpus, revision=revision)
    local = record_of(checkpoint, corpus)
    assert record.sites == local.sites
    assert record.provenance.model == "org/tiny"
    assert record.provenance.weights_sha256 == local.provenance.weights_sha256


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_dtype_of_a_hub_id_that_no_config_states_is_told_before_loading_as_that_of_a_folder(
    dtype: torch.dtype, copy: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restated(rewritten(copy, lambda tensors: {name: t.to(dtype) for name, t in tensors.items()}), dtype=None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub_cache(tmp_path / "hub", copy)))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = []
    for model in ("org/tiny", str(copy)):
        settings = Settings(model=model, corpus=str(corpus))
        prepared = prepare(settings)
        expected = expected_footing(prepared, settings)
        assert measure(prepared, settings, None).provenance.dtype == prepared.dtype == expected.dtype
        told.append(prepared.dtype)
    assert told == [str(dtype).removeprefix("torch.")] * 2


def test_a_revision_that_is_not_there_is_an_input_error(hub: Path) -> None:
    with pytest.raises(InputError, match="no model org/tiny at revision v2"):
        locate(Settings(model="org/tiny", revision="v2"))


def test_remote_code_of_a_hub_id_needs_a_pinned_commit(hub: Path) -> None:
    for revision in (None, "main"):
        with pytest.raises(InputError, match=r"needs the commit that was reviewed\n.*`revision`"):
            locate(Settings(model="org/tiny", revision=revision, trust_remote_code=True))
    assert locate(Settings(model="org/tiny", revision=COMMIT, trust_remote_code=True)).trust_remote_code


def gate(pytester: pytest.Pytester, model: object, *args: object) -> tuple[int, str]:
    result = pytester.runpytest(f"--maxact-model={model}", *(str(arg) for arg in args))
    return int(result.ret), result.stdout.str() + result.stderr.str()


def spoil_nothing(folder: Path) -> None:
    """The sound checkpoint."""


def remove_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def name_an_unknown_type(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    remove_weights(folder)


def truncate_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def scramble_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x00\x01garbage" * 100)


def lose_a_shard(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}})
    )


def remove_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_config, "is not a model directory: it has no config.json"),
        (break_config, "config.json: not readable as JSON"),
        (name_an_unknown_type, "transformers cannot read this config"),
        (remove_weights, r"has a config but no weights \(\*\.safetensors\)"),
        (pickle_weights, r"holds pickled weights only \(pytorch_model.bin\); pickles can run code"),
        (truncate_weights, "model.safetensors is corrupt or truncated: it has"),
        (scramble_weights, "model.safetensors is corrupt or truncated: its header is longer"),
        (lose_a_shard, "lacks 1 of its weight files, the first model-00002.safetensors"),
        (remove_tokenizer, "no tokenizer in"),
    ],
)  # fmt: skip
def test_a_spoilt_checkpoint_is_a_usage_error_that_says_what_and_how_to_fix_it(
    spoil: object, message: str, copy: Path, pytester: pytest.Pytester
) -> None:
    spoil(copy)  # type: ignore[operator]
    status, text = gate(pytester, copy)
    assert status == 4
    assert pytest.importorskip("re").search(f"ERROR: .*{message}", text), text
    assert "Traceback" not in text
    error = text[text.index("ERROR: ") :].strip().splitlines()
    assert 2 <= len(error) <= 3, error


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("/no/such/folder", "no model at /no/such/folder: there is no such folder, and it is not a hub id"),
        ("a/b/c", "no model at a/b/c"),
        ("nobody/nothing", "no model nobody/nothing: no such folder here, not whole in the hub cache"),
        ("nobody/nothing", "the hub was not asked, for HF_HUB_OFFLINE is set\n  check the path or id"),
    ],
)  # fmt: skip
def test_a_model_that_is_not_there_is_a_usage_error(
    model: str, message: str, pytester: pytest.Pytester, hub: Path
) -> None:
    status, text = gate(pytester, model)
    assert status == 4
    assert message in text


def test_a_file_where_a_folder_is_wanted_is_a_usage_error(pytester: pytest.Pytester, checkpoint: Path) -> None:
    status, text = gate(pytester, checkpoint / "config.json")
    assert (status, "is a file" in text) == (4, True)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--maxact-dtype=int8", "'int8' is not one of auto, bf16, fp16, fp32"),
        ("--maxact-max-samples=0", "'0' is not a whole number above 0"),
        ("--maxact-max-tokens=-5", "'-5' is not a whole number above 0"),
        ("--maxact-batch-tokens=many", "'many' is not a whole number above 0"),
        ("--maxact-protocol=chat", "'chat' is not one of paper, deployed"),
        ("--maxact-device=gpu", "'gpu' is not a device"),
        ("--maxact-seed=x", "'x' is not a whole number"),
        ("--maxact-corpus=missing.jsonl", "no corpus at missing.jsonl"),
        ("--maxact-limits=missing.yaml", "no limits file at missing.yaml"),
        ("--maxact-family=qwen33", "no such family"),
        ("--maxact-replay=x", "give one of them"),
        ("--maxact-save=/no/such/folder/x", "cannot be written"),
        ("--maxact-max-samples=1", "fewer than two samples"),
        ("--maxact-protocol=deployed", "hold for protocol 'paper', the measurement is of protocol 'deployed'"),
    ],
)  # fmt: skip
def test_a_bad_option_value_is_a_usage_error(
    option: str, message: str, pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    of_words = [] if "corpus" in option else [f"--maxact-corpus={corpus}"]
    status, text = gate(pytester, checkpoint, option, *of_words)
    assert status == 4
    assert message in text
    assert "Traceback" not in text


def test_an_unknown_family_says_how_to_add_one_and_generic_judges_it(
    pytester: pytest.Pytester, tmp_path: Path, corpus: Path
) -> None:
    folder = tiny.save(tmp_path / "llama", tiny.random_model("llama"))
    status, text = gate(pytester, folder, f"--maxact-corpus={corpus}")
    assert status == 4
    assert "no limits for model_type 'llama' (3 layers x 64)" in text
    assert "extends: builtin" in text
    assert "--maxact-family generic" in text
    status, text = gate(pytester, folder, "--maxact-family=generic", f"--maxact-corpus={corpus}")
    assert status == 0


def test_generic_fails_beyond_fp16(pytester: pytest.Pytester, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "llama", tiny.planted_model("llama", layer=1, value=70144.0))
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences([5, 9, 4], peak=(1, 3)))
    status, text = gate(pytester, folder, "--maxact-family=generic", f"--maxact-corpus={corpus}")
    assert status == 1
    assert (
        "does not fit: 3 sites above 65 504 or not finite: layers.1.hidden, layers.1.mlp_output, layers.2.hidden"
        in " ".join(text.split())
    )


def edit(folder: Path, change: object) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)  # type: ignore[operator]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop("layers.2.mlp.up_proj.weight"),
            "lack 1 tensor that the config calls for, the first layers.2.mlp.up_proj.weight",
        ),
        (
            lambda t: t.update({"layers.3.mlp.up_proj.weight": torch.zeros(96, 64)}),
            "hold 1 decoder tensor that the config does not use",
        ),
        (
            lambda t: t.update({"layers.0.mlp.up_proj.bias": torch.zeros(96)}),
            "hold 1 decoder tensor that the config does not use",
        ),
        (lambda t: t.update({"norm.weight": torch.zeros(32)}), "tensors? of another shape|cannot load the weights"),
    ],
)
def test_weights_that_do_not_fit_their_config_are_not_measured(change: object, message: str, copy: Path) -> None:
    edit(copy, change)
    settings = Settings(model=str(copy))
    with pytest.raises(MeasureError, match=message):
        load(locate(settings), settings)


@pytest.mark.parametrize("name", ["norm.bias", "embed_tokens.bias"])
def test_a_stray_tensor_of_a_decoder_module_is_not_passed_over(name: str, copy: Path) -> None:
    edit(copy, lambda t: t.update({name: torch.zeros(64)}))
    settings = Settings(model=str(copy))
    with pytest.raises(MeasureError, match=f"hold 1 decoder tensor that the config does not use, the first {name}"):
        load(locate(settings), settings)


def test_a_text_backbone_that_lacks_a_tensor_is_refused_inside_its_wrapper_too(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m", tiny.random_model("gemma3"))
    (name,) = [key for key in load_file(folder / "model.safetensors") if key.endswith("layers.1.mlp.up_proj.weight")]
    edit(folder, lambda t: t.pop(name))
    settings = Settings(model=str(folder))
    with pytest.raises(MeasureError, match="lack 1 tensor that the config calls for"):
        load(locate(settings), settings)


def test_tensors_outside_the_decoder_are_left_out_and_said_so(copy: Path) -> None:
    edit(copy, lambda t: t.update({"lm_head.weight": torch.zeros(64, 64), "value_head.weight": torch.zeros(1, 64)}))
    settings = Settings(model=str(copy))
    assert "value_head: not part of the decoder" in load(locate(settings), settings).left_out


@pytest.mark.parametrize(
    ("dtype", "expected"), [("auto", "bfloat16"), ("bf16", "bfloat16"), ("fp16", "float16"), ("fp32", "float32")]
)
def test_the_dtype_is_the_checkpoints_unless_asked_otherwise(
    dtype: str, expected: str, tmp_path: Path, corpus: Path
) -> None:
    folder = tiny.save(tmp_path / "m", tiny.planted_model("qwen3", layer=1, value=64.0))
    record = record_of(folder, corpus, dtype=dtype)
    assert record.provenance.dtype == expected
    assert record["layers.0.hidden"].dtype == expected


def test_the_same_weights_have_the_same_digest_and_one_changed_value_another(copy: Path, checkpoint: Path) -> None:
    assert weights_digest(weight_files(copy)) == weights_digest(weight_files(checkpoint))
    edit(copy, lambda t: t["norm.weight"].mul_(1.001))
    assert weights_digest(weight_files(copy)) != weights_digest(weight_files(checkpoint))


def test_a_device_that_is_not_there_is_an_input_error() -> None:
    if torch.cuda.is_available():
        assert pick_device("auto").type == "cuda"
    else:
        with pytest.raises(InputError, match="`device` cuda: not available here"):
            pick_device("cuda")


@pytest.mark.parametrize("model_type", ["gemma3", "qwen2_5_vl"])
def test_of_a_multimodal_checkpoint_the_text_backbone_is_measured_and_the_rest_said_to_be_left_out(
    model_type: str, tmp_path: Path, corpus: Path
) -> None:
    record = record_of(tiny.save(tmp_path / "m", tiny.random_model(model_type)), corpus)
    assert record.provenance.layers == tiny.LAYERS
    assert any("vis" in part for part in record.provenance.left_out)


def test_a_checkpoint_saved_with_its_language_model_head_loads_without_it(tmp_path: Path, corpus: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(tiny.config_of("qwen3"), dtype=torch.float32)
    tiny.save(tmp_path / "m", model)
    record = record_of(tmp_path / "m", corpus)
    assert record.provenance.architecture == "Qwen3Model"
    assert len(record.sites) == 4 * tiny.LAYERS + 2


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_weights_in_low_bits_without_a_word_in_the_config_are_not_measured(dtype: torch.dtype, copy: Path) -> None:
    """transformers would cast them, and measure a model without its scales."""
    edit(
        copy,
        lambda t: t.update({name: tensor.to(dtype) for name, tensor in t.items() if name.endswith("up_proj.weight")}),
    )
    settings = Settings(model=str(copy))
    held = {torch.int8: "I8", torch.float8_e4m3fn: "F8_E4M3"}[dtype]
    with pytest.raises(
        InputError,
        match=f"layers.0.mlp.up_proj.weight and 2 more weights are {held}, of which config.json says nothing",
    ):
        load(locate(settings), settings)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", ""])
def test_a_dtype_that_is_none_of_the_known_is_refused_and_not_taken_as_auto(dtype: str, copy: Path) -> None:
    settings = Settings(model=str(copy), dtype=dtype)
    with pytest.raises(InputError, match="no dtype to measure in\n  use auto, bf16, fp16, fp32"):
        load(locate(settings), settings)
