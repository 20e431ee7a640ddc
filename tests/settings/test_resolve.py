"""Settings come from the command line, then the ini file, then the default; one table names them all."""

import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.settings.ini import Written
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.resolve import resolve
from pytest_maxact.settings.settings import Settings

BY_NAME = {option.name: option for option in OPTIONS}


def ini(values: Mapping[str, object]) -> dict[str, Written]:
    return {f"maxact_{field}": Written(value=value) for field, value in values.items()}


def test_options_are_exactly_the_fields_of_settings() -> None:
    assert [option.field for option in OPTIONS] == [field.name for field in fields(Settings)]
    assert len(BY_NAME) == len(OPTIONS)


def test_only_a_flag_goes_without_a_value() -> None:
    assert [option.name for option in OPTIONS if option.is_flag] == [
        "trust-remote-code",
        "stress",
        "loosen",
        "strict",
        "slim",
    ]


def test_every_option_explains_itself() -> None:
    assert all(option.help and not option.help.endswith(".") for option in OPTIONS)


def test_judging_options_are_told_from_measuring_ones() -> None:
    assert {option.name for option in OPTIONS if not option.measures} == {
        "deploy",
        "limits",
        "family",
        "replay",
        "baseline",
        "source",
        "horizon",
        "update",
        "loosen",
        "strict",
        "close",
        "verdict",
        "json-report",
        "html",
        "sarif",
        "codequality",
        "card",
        "bom",
        "github",
    }


def test_nothing_given_is_the_default() -> None:
    assert resolve({}) == Settings()
    assert not Settings().wanted


@pytest.mark.parametrize("given", [{"model": "m"}, {"replay": "r"}])
def test_a_model_or_a_record_asks_for_the_gate(given: dict[str, str]) -> None:
    assert resolve(given).wanted


EXAMPLES: dict[str, tuple[str, Any]] = {
    "sites": ("deploy", "deploy"),
    "schemes": ("w8a8, FP8", ("W8A8", "FP8")),
    "effect": ("INT8", ("W8A8",)),
    "stress": ("true", True),
    "hunt": ("carrier\n\n  layers.0.hidden", ("carrier", "layers.0.hidden")),
    "hunt-seconds": ("60", 60),
    "hunt-out": ("worst.jsonl", "worst.jsonl"),
    "repeat": ("8", 8),
    "deploy": ("FP16,NVFP4", ("FP16", "NVFP4")),
    "model": ("org/name", "org/name"),
    "revision": ("main", "main"),
    "weights": ("model.safetensors", "model.safetensors"),
    "dtype": ("bf16", "bf16"),
    "device": ("cuda:1", "cuda:1"),
    "arithmetic": ("float32-accumulate", "float32-accumulate"),
    "resume": ("off", "off"),
    "trust-remote-code": ("true", True),
    "corpus": ("c.jsonl", "c.jsonl"),
    "corpus-tokenizer": ("t", "t"),
    "max-samples": ("12", 12),
    "max-tokens": ("10_000", 10_000),
    "max-seq-len": ("64", 64),
    "batch-tokens": ("4096", 4096),
    "shard": ("3/16", "3/16"),
    "seed": ("-3", -3),
    "protocol": ("deployed", "deployed"),
    "limits": ("l.yaml", "l.yaml"),
    "family": ("generic", "generic"),
    "baseline": ("one.safetensors\n\n  org/name", ("one.safetensors", "org/name")),
    "source": ("org/base", "org/base"),
    "horizon": ("20_000", 20_000),
    "cache": ("records", "records"),
    "save": ("s", "s"),
    "slim": ("yes", True),
    "replay": ("r", "r"),
    "update": ("new", "new"),
    "loosen": ("true", True),
    "verdict": ("v.json", "v.json"),
    "json-report": ("r.json", "r.json"),
    "html": ("r.html", "r.html"),
    "sarif": ("r.sarif", "r.sarif"),
    "codequality": ("q.json", "q.json"),
    "card": ("README.md", "README.md"),
    "bom": ("bom.json", "bom.json"),
    "github": ("off", "off"),
    "strict": ("on", True),
    "until-saturated": ("4096", 4096),
    "close": ("fail", "fail"),
}


def test_there_is_an_example_of_every_option() -> None:
    assert set(EXAMPLES) == set(BY_NAME)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("update", "loosen")])
def test_the_ini_file_sets_an_option_that_the_command_line_does_not(name: str) -> None:
    text, value = EXAMPLES[name]
    field = BY_NAME[name].field
    settings = resolve({}, ini({field: text}))
    assert getattr(settings, field) == value
    assert type(getattr(settings, field)) is type(value)
    assert [f.name for f in fields(Settings) if getattr(settings, f.name) != f.default] == [field]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_command_line_wins_over_the_ini_file(name: str) -> None:
    text, _ = EXAMPLES[name]
    field = BY_NAME[name].field
    given: Any = {
        "trust-remote-code": False,
        "slim": False,
        "loosen": False,
        "strict": False,
        "seed": 0,
        "baseline": ["given"],
        "hunt": ["given"],
        "stress": False,
    }.get(name, "given")
    model = {} if name in ("model", "replay") else {"model": "runs/*"}
    settled = getattr(resolve({field: given, **model}, ini({field: text})), field)
    assert settled == (tuple(given) if isinstance(given, list) else given)


def test_what_the_command_line_settles_is_not_parsed_in_the_ini_file() -> None:
    assert resolve({"max_samples": 3, "model": "m"}, ini({"max_samples": "many"})).max_samples == 3


def test_an_empty_ini_value_is_no_value() -> None:
    assert resolve({}, ini({option.field: "" for option in OPTIONS})) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("max-samples", "0", "'0' is not a whole number above 0"),
        ("max-samples", "-5", "'-5' is not a whole number above 0"),
        ("max-tokens", "1e5", "'1e5' is not a whole number above 0"),
        ("max-seq-len", "4k", "'4k' is not a whole number above 0"),
        ("batch-tokens", "1.5", "'1.5' is not a whole number above 0"),
        ("seed", "x", "'x' is not a whole number"),
        ("dtype", "int8", "'int8' is not one of auto, bf16, fp16, fp32"),
        ("protocol", "Paper", "'Paper' is not one of paper, deployed"),
        ("device", "gpu", "'gpu' is not a device: auto, cpu, cuda, cuda:1"),
        ("device", "cuda:", "'cuda:' is not a device"),
        ("device", "cpu:0", "'cpu:0' is not a device"),
        ("trust-remote-code", "maybe", "'maybe' is not true or false"),
        ("model", "  ", "is empty; give a file or folder"),
        ("family", "  ", "must not be empty"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_with_its_option(name: str, text: str, reason: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        BY_NAME[name].parse(text)
    assert reason in str(caught.value)
    with pytest.raises(InputError) as refused:
        resolve({}, ini({BY_NAME[name].field: text}))
    assert str(refused.value) == f"ini file: maxact_{BY_NAME[name].field}: {caught.value}"


@pytest.mark.parametrize("text", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_devices_are_taken_as_torch_names_them(text: str) -> None:
    assert BY_NAME["device"].parse(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("TRUE", True),
        ("1", True),
        ("yes", True),
        ("on", True),
        ("false", False),
        ("0", False),
        ("No", False),
        ("off", False),
    ],
)
def test_flags_are_spelled_as_in_ini_files(text: str, value: bool) -> None:
    assert resolve({}, ini({"trust_remote_code": text})).trust_remote_code is value


def test_measuring_and_replaying_at_once_is_refused() -> None:
    with pytest.raises(
        InputError,
        match="`model` measures a checkpoint and `replay` judges a saved Record; give one of them",
    ):
        resolve({"model": "m", "replay": "r"})


def test_measuring_and_replaying_at_once_in_the_ini_file_is_refused() -> None:
    with pytest.raises(InputError, match="give one of them"):
        resolve({}, ini({"model": "m", "replay": "r"}))


def test_replaying_on_the_command_line_replaces_a_model_of_the_ini_file() -> None:
    settings = resolve({"replay": "r"}, ini({"model": "m"}))
    assert (settings.model, settings.replay) == (None, "r")


def test_a_model_on_the_command_line_replaces_a_replay_of_the_ini_file() -> None:
    settings = resolve({"model": "m"}, ini({"replay": "r"}))
    assert (settings.model, settings.replay) == (
        "m",
        None,
    ), "else an old Record is judged in place of the checkpoint asked for"


def test_slim_without_a_file_to_write_is_refused_and_lies_idle_in_the_ini_file() -> None:
    with pytest.raises(InputError, match="`slim` does nothing without `save`"):
        resolve({"model": "m", "slim": True})
    assert resolve({"model": "m"}, ini({"slim": "true"})).slim
    assert resolve({"model": "m", "slim": True}, ini({"save": "s"})).save == "s"


def test_slim_beside_a_replay_is_refused_as_what_shapes_a_measurement() -> None:
    with pytest.raises(InputError, match="`slim` shapes a measurement, and `replay` makes none"):
        resolve({"replay": "r", "slim": True})
