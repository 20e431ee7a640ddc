"""Names of schemes, their aliases, and what each says that it quantizes."""

import pytest
import torch
from compressed_tensors.quantization.quant_scheme import PRESET_SCHEMES  # type: ignore[import-untyped]

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.caches import CACHES
from pytest_maxact.numbers.schemes import ALIASES, DEFAULT_SCHEMES, SCHEMES, Quantizer, scheme_called
from tests.support.deployed import WITHOUT_PRESET, preset_args
from tests.support.quantizing import quantizer


def test_every_scheme_but_the_papers_and_the_casts_is_a_preset_and_agrees_with_it_on_what_is_quantized() -> None:
    for name, scheme in SCHEMES.items():
        assert scheme.name == name
        if scheme.cast or scheme.cache or name in WITHOUT_PRESET:
            assert name not in PRESET_SCHEMES
            continue
        assert name in PRESET_SCHEMES
        for operand in ("activations", "weights"):
            args, how = preset_args(name, operand), getattr(scheme, operand)
            assert (args is None) == (how is None)
            if how is not None:
                assert how.bits == args.num_bits
                assert how.is_integer == (args.type == "int")
                assert how.static == (operand == "activations" and not args.dynamic)
                assert args.symmetric
                assert strategy_of(how, operand) == str(args.strategy), name
                wide = args.block_structure[1] if args.block_structure else args.group_size or 0
                assert (how.group, how.scale) == (wide, SCALES[args.scale_dtype]), name
                assert args.block_structure in (None, [how.group, how.group])


SCALES = {None: "", torch.uint8: "e8m0", torch.float8_e4m3fn: "e4m3"}


def strategy_of(how: Quantizer, operand: str) -> str:
    """A granularity by the word of compressed-tensors."""
    if how.granularity == "row":
        return "token" if operand == "activations" else "channel"
    return "tensor_group" if how.scale == "e4m3" else how.granularity


def test_only_static_scales_and_the_one_above_nvfp4s_groups_need_calibration() -> None:
    needing = {name for name, scheme in SCHEMES.items() if scheme.activations and scheme.activations.needs_calibration}
    assert needing == {"W8A8_STATIC", "FP8", "NVFP4"}


@pytest.mark.parametrize(
    ("asked", "name"),
    [("INT8", "W8A8"), ("int8", "W8A8"), ("nvfp4", "NVFP4"), ("Fp8_Dynamic", "FP8_DYNAMIC"), ("FP16", "FP16")],
)
def test_a_scheme_is_found_by_its_name_or_alias_in_any_case(asked: str, name: str) -> None:
    assert scheme_called(asked) is SCHEMES[name]


@pytest.mark.parametrize(("asked", "near"), [("NVFP5", "NVFP4"), ("W8A", "W8A8"), ("FP8_DYNAMC", "FP8_DYNAMIC")])
def test_an_unknown_scheme_is_refused_with_the_nearest_and_all_names(asked: str, near: str) -> None:
    with pytest.raises(InputError) as refused:
        scheme_called(asked)
    text = str(refused.value)
    assert f"no scheme called {asked!r}" in text
    assert text.splitlines()[1:] == [f"  did you mean {near}? there are {', '.join(SCHEMES)}"]


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(InputError, match="no scheme called 'q'\n  there are W8A8, ") as refused:
        scheme_called("q")
    assert "did you mean" not in str(refused.value)


def test_aliases_and_defaults_are_names_of_schemes() -> None:
    assert set(ALIASES.values()) | set(DEFAULT_SCHEMES) <= set(SCHEMES)


IN_WORDS = {
    "W8A8": "activations int8 per token, weights int8 per channel",
    "W8A8_STATIC": "activations int8 per tensor, static, weights int8 per channel",
    "FP8": "activations fp8_e4m3 per tensor, static, weights fp8_e4m3 per tensor",
    "FP8_DYNAMIC": "activations fp8_e4m3 per token, weights fp8_e4m3 per channel",
    "FP8_BLOCK": "activations fp8_e4m3 per group of 128, weights fp8_e4m3 per block of 128",
    "MXFP8": "activations fp8_e4m3 per group of 32, weights fp8_e4m3 per group of 32",
    "MXFP4": "activations fp4_e2m1 per group of 32, weights fp4_e2m1 per group of 32",
    "NVFP4": "activations fp4_e2m1 per group of 16, weights fp4_e2m1 per group of 16",
    "W4A8": "activations int8 per token, weights int4 per group of 128",
    "W4AFP8": "activations fp8_e4m3 per token, weights int4 per group of 128",
    "W4A16": "activations in 16 bits, weights int4 per group of 128",
    "W8A16": "activations in 16 bits, weights int8 per group of 128",
    "MXFP8A16": "activations in 16 bits, weights fp8_e4m3 per group of 32",
    "MXFP4A16": "activations in 16 bits, weights fp4_e2m1 per group of 32",
    "NVFP4A16": "activations in 16 bits, weights fp4_e2m1 per group of 16",
    "FP16": "every tensor in float16",
    "BF16": "every tensor in bfloat16",
}


def test_every_scheme_says_in_words_what_it_quantizes() -> None:
    assert {name: scheme.in_words for name, scheme in SCHEMES.items() if not scheme.cache} == IN_WORDS
    words = {name: scheme.in_words for name, scheme in SCHEMES.items() if scheme.cache}
    assert words["KV_FP8"] == "keys and values fp8_e4m3 per tensor, calibrated"
    assert words["KV_INT4"] == (
        "keys and values int4 keys per channel in groups of 32 tokens, values per token in groups of 32"
    )
    assert len(set(words.values())) == len(words) == len(CACHES)


def test_two_schemes_make_one_of_linear_layers_and_of_the_cache() -> None:
    both = scheme_called("w8a8 + kv_fp8_e4m3")
    assert (both.name, both.parts) == ("W8A8+KV_FP8", ("W8A8", "KV_FP8"))
    assert (both.activations, both.cache) == (SCHEMES["W8A8"].activations, CACHES["KV_FP8"])
    assert both == SCHEMES["W8A8+KV_FP8"]
    assert "W8A8+KV_FP8" in SCHEMES
    for name in ("KV_FP8+W8A8", "W8A8+FP8", "FP16+KV_FP8", "W8A8+KV_FP8+KV_INT8", "W8A8+"):
        assert name not in SCHEMES
    with pytest.raises(InputError, match="no scheme called 'W8A8\\+KV_FP9'"):
        scheme_called("W8A8+KV_FP9")


@pytest.mark.parametrize(
    ("name", "width", "refused"), [("MXFP4", 40, True), ("MXFP4", 64, False), ("NVFP4", 40, True), ("NVFP4", 48, False)]
)
def test_a_width_that_groups_do_not_divide_is_refused_with_both_numbers(name: str, width: int, refused: bool) -> None:
    how = quantizer(name, "activations")
    assert how.refuses(width) == (f"{width} is no multiple of its groups of {how.group}" if refused else "")
    assert quantizer("W8A8", "activations").refuses(width) == quantizer("FP8_BLOCK", "weights").refuses(width) == ""
