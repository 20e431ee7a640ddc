"""The coverage contract: every causal-LM architecture of the installed transformers resolves to its full site list or
to one clear error.

The table in docs/architectures.md is what this test found; `python -m tools.write_docs` writes it again.
"""

import contextlib
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import transformers
from torch import nn

from pytest_maxact.checkpoint.sites import table as table
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import InputError
from tests.support.paths import REPOSITORY
from tests.support.zoo.configs import TYPES, build
from tests.support.zoo.survey import Outcome, survey
from tools.write_docs import architectures, with_part

TABLE = REPOSITORY / "docs" / "architectures.md"
CONSTRAINTS = REPOSITORY / "constraints.txt"
SENSES = ("vision", "visual", "image", "audio", "speech", "pixel", "video")
UNSUPPORTED = {"blt"}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return survey()


@pytest.fixture(scope="module")
def resolved(outcomes: dict[str, Outcome]) -> list[tuple[str, nn.Module, Anatomy]]:
    return [
        (o.model_type, o.model, o.anatomy) for o in outcomes.values() if o.model is not None and o.anatomy is not None
    ]


def test_all_but_the_unsupported_resolve(outcomes: dict[str, Outcome]) -> None:
    built = [outcome for outcome in outcomes.values() if outcome.model is not None]
    assert {
        outcome.model_type: outcome.error for outcome in built if outcome.anatomy is None
    }.keys() == UNSUPPORTED & set(outcomes)
    assert len(built) - len(UNSUPPORTED) >= 170


def test_layers_found_are_layers_configured(resolved: list[tuple[str, nn.Module, Anatomy]]) -> None:
    for name, model, anatomy in resolved:
        config: Any = decoder_of(model).config
        stated = {
            getattr(config, key, None)
            for key in ("num_hidden_layers", "decoder_layers", "num_decoder_layers", "num_layers")
        }
        assert anatomy.layers in stated, name
        idle = [entry for entry in anatomy.left_out if entry.what.startswith("layers ")]
        hidden = [site.layer for site in anatomy.sites if site.kind == "hidden"]
        assert len(set(hidden)) == len(hidden)
        assert hidden == list(range(anatomy.layers)) if not idle else len(hidden) < anatomy.layers, name


def test_expected_kinds_are_present_or_absent_by_design(resolved: list[tuple[str, nn.Module, Anatomy]]) -> None:
    for name, _, anatomy in resolved:
        kinds = Counter(site.kind for site in anatomy.sites)
        absent = {entry.what.split(" of ")[0] for entry in anatomy.left_out if entry.by_design}
        assert kinds["embedding"] == 1, name
        assert kinds["final_norm"] == 1 or "final_norm" in absent, name
        for kind in ("attn_output", "mlp_output", "gate"):
            assert kinds[kind] == kinds["hidden"] or kind in absent, (name, kind)
        for layer in {site.layer for site in anatomy.sites if site.layer is not None}:
            assert {f"layers.{layer}.attn_output", f"layers.{layer}.mlp_output"} & {
                site.name for site in anatomy.sites
            }, name
        assert kinds["router"] == len({experts.site for experts in anatomy.experts}), name


def test_every_mixture_of_experts_has_its_router(resolved: list[tuple[str, nn.Module, Anatomy]]) -> None:
    for name, model, anatomy in resolved:
        config: Any = decoder_of(model).config
        counts = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
        sparse = any(isinstance(getattr(config, key, None), int) and getattr(config, key) > 1 for key in counts)
        routed = any(site.kind == "router" for site in anatomy.sites)
        stacked = any(type(module).__name__.endswith("Experts") for module in decoder_of(model).modules())
        assert routed == (sparse and stacked) or name == "jetmoe", name


def test_no_module_of_another_sense_is_observed(resolved: list[tuple[str, nn.Module, Anatomy]]) -> None:
    for name, model, anatomy in resolved:
        paths = {id(module): path for path, module in model.named_modules()}
        seen = [
            path for tap in anatomy.taps if any(sense in (path := paths[id(tap.module)].lower()) for sense in SENSES)
        ]
        assert not seen, name
        inside = {id(module) for module in decoder_of(model).modules()}
        assert all(id(tap.module) in inside for tap in anatomy.taps), name


def test_every_matrix_of_a_layer_is_inside_an_observed_block_or_said_to_be_left_out(
    resolved: list[tuple[str, nn.Module, Anatomy]],
) -> None:
    for name, model, anatomy in resolved:
        paths = {id(module): path for path, module in model.named_modules()}
        blocks = {
            paths[id(tap.module)] for tap in anatomy.taps if tap.site.kind in ("attn_output", "mlp_output", "gate")
        }
        layers = {paths[id(tap.module)] for tap in anatomy.taps if tap.site.kind == "hidden"}
        # Of BERT's and BART's build the last projection is observed: what lies beside it in the layer is the same
        # block.
        last = {
            path
            for path in blocks
            if path.endswith((".dense", ".fc2", ".o_proj", "ffn_output", "layer_2", "down_proj", "dense_4h_to_h"))
        }
        blocks |= {path.rsplit(".", 2)[0] if ".output." in path else path.rsplit(".", 1)[0] for path in last} - layers
        spoken = {entry.what.removeprefix("layers.*.") for entry in anatomy.left_out}
        for layer in layers:
            for path, module in model.get_submodule(layer).named_modules():
                matrix = any(sum(size > 1 for size in p.shape) >= 2 for p in module.parameters(recurse=False))
                whole = f"{layer}.{path}"
                if not matrix or not path or any(whole == block or whole.startswith(f"{block}.") for block in blocks):
                    continue
                told = any(path == word or path.startswith(f"{word}.") for word in spoken)
                assert told or path.split(".")[0] in ("fc1", "intermediate", "experts", "router", "ffn"), (name, whole)


def test_an_error_names_the_architecture_and_what_could_not_be_found(outcomes: dict[str, Outcome]) -> None:
    for name in UNSUPPORTED & set(outcomes):
        assert outcomes[name].error.startswith(f"{name} cannot be measured: ")


def renamed(entry: table.Exceptions) -> list[table.Exceptions]:
    """The entry once for each path in it, with that path's module renamed."""
    found = []
    if entry.layers is not None:
        listed = entry.layers
        found.append(replace(entry, layers=lambda config: [path.replace("layer", "lair") for path in listed(config)]))
    found += [replace(entry, mixers=(f"{entry.mixers[0]}_renamed", *entry.mixers[1:]))] if entry.mixers else []
    found += (
        [replace(entry, feed_forwards=(f"{entry.feed_forwards[0]}_renamed", *entry.feed_forwards[1:]))]
        if entry.feed_forwards
        else []
    )
    found += [replace(entry, router=f"{entry.router.partition(':')[0]}_renamed")] if entry.router else []
    found += [replace(entry, final_norm=f"{entry.final_norm}_renamed")] if entry.final_norm else []
    found += [replace(entry, depth=f"{entry.depth}_renamed")] if entry.depth != "num_hidden_layers" else []
    found += (
        [replace(entry, gates={key: f"{path}_renamed" for key, path in entry.gates.items() if path})]
        if any(entry.gates.values())
        else []
    )
    found += [replace(entry, gates={})] if entry.gates else []
    found += (
        [replace(entry, beside={f"{name}_renamed": why for name, why in entry.beside.items()})] if entry.beside else []
    )
    return found


@pytest.mark.parametrize(
    "model_type", sorted(name for name, entry in table.TABLE.items() if renamed(entry) and name in TYPES)
)
def test_a_module_renamed_since_the_table_was_written_is_an_error(
    model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = build(model_type)
    resolve(model, model.config)
    for entry in renamed(table.TABLE[model_type]):
        monkeypatch.setattr(table, "TABLE", {**table.TABLE, model_type: entry})
        with pytest.raises(InputError):
            resolve(model, model.config)


@pytest.mark.parametrize(
    ("model_type", "parent", "name"),
    [
        ("cpmant", "cpmant.encoder.layers.1", "self_att"),
        ("bert", "bert.encoder.layer.0.attention.output", "dense"),
        ("nanochat", "model", "norm"),
        ("minimax_m3_vl_text", "model.layers.2.mlp.shared_experts", "gate_up_proj"),
        ("gemma3n_text", "model.layers.1", "laurel"),
        ("qwen3_moe", "model.layers.1", "self_attn"),
        ("opt", "model.decoder.layers.0", "fc2"),
    ],
)
def test_a_module_renamed_in_the_model_is_an_error_or_still_the_same_site(
    model_type: str, parent: str, name: str
) -> None:
    model: Any = build(model_type)
    before = {tap.site.name: tap.module for tap in resolve(model, model.config).taps}
    owner = model.get_submodule(parent)
    setattr(owner, f"{name}_x", owner._modules.pop(name))
    with contextlib.suppress(InputError):
        assert {tap.site.name: tap.module for tap in resolve(model, model.config).taps} == before


def test_the_table_in_the_docs_is_what_was_found(outcomes: dict[str, Outcome]) -> None:
    stated, pinned = TABLE.read_text(), re.search(r"^transformers==(\S+)$", CONSTRAINTS.read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"transformers {pinned[1]}," in stated, "the table is of another release than the one pinned; write it again"
    if transformers.__version__ != pinned[1]:
        pytest.skip(
            f"the table is of transformers {pinned[1]}, which constraints.txt pins, not of {transformers.__version__}"
        )
    assert stated == with_part(stated, "architectures", architectures(outcomes))
