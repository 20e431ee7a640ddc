"""What of YAML a limits file may use, and how much: bounds before anything is built, and numbers of YAML 1.2 alone."""

import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import load_limits, parse_limits
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.limits.yaml_loader import FAST, MOST_BYTES, plain
from pytest_maxact.record.identity import Identity
from tests.support.limits import FAMILY, HEAD
from tests.support.records import sites

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MERGED = "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))


def refusal(text: str, folder: Path) -> str:
    path = folder / "limits.yaml"
    path.write_text(text, encoding="utf-8")
    started = time.process_time()
    with pytest.raises(InputError) as caught:
        load_limits(path)
    assert time.process_time() - started < 10
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) <= 3
    assert len(message) < 1000
    return message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "more than 50000 entries once its aliases are written out"),
        (MERGED, "more than 50000 entries once its aliases are written out"),
        ("a: &a [1]\nb: [" + "*a, " * 300 + "]\n", "more than 200 aliases"),
        ("a: &a {b: *a}\n", "*a inside of what it stands for"),
        ("[" * 5000, "more than 32 mappings and lists in each other"),
        ("[" * 5000 + "]" * 5000, "more than 32 mappings and lists in each other"),
        ("- " * 5000, "more than 32 mappings and lists in each other"),
        ("{a: " * 5000, "more than 32 mappings and lists in each other"),
        ("".join(f"{' ' * i}a:\n" for i in range(1000)), "more than 32 mappings and lists in each other"),
        (f"? {'k' * 30_000}\n: 1\n", "a text of 30000 characters; 20000 are allowed"),
        (f"source: {'k' * 30_000}\n", "a text of 30000 characters; 20000 are allowed"),
        ("a: !!int '012'\n", "the tag 'tag:yaml.org,2002:int'; write the value alone"),
        ("a: !!set {b}\n", "the tag 'tag:yaml.org,2002:set'"),
        ("a: !x b\n", "the tag '!x'"),
        ("\x01", "special characters are not allowed"),
    ],
    ids=range(15),
)
def test_what_is_out_of_bounds_is_refused_at_once(text: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(text, tmp_path)


def test_a_file_too_large_to_be_one_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "l.yaml").write_bytes(b"a" * (MOST_BYTES + 1))
    with pytest.raises(InputError, match=r"l\.yaml is larger than 1 MiB"):
        load_limits(tmp_path / "l.yaml")
    with pytest.raises(InputError, match="null is a device, and no file"):
        load_limits("/dev/null")


def test_a_huge_key_is_told_in_part(tmp_path: Path) -> None:
    assert "unknown key" in refusal(f"version: 1\nextends: builtin\n? {'k' * 15_000}\n: 1\n", tmp_path)
    assert "is given twice" in refusal(f"? {'k' * 15_000}\n: 1\n? {'k' * 15_000}\n: 1\n", tmp_path)


@pytest.mark.parametrize("code", ["\\e[31m", "\\x07", "\\u202e", "\\x9b31m", "\\r"])
def test_what_a_terminal_obeys_is_refused_and_told_as_text(code: str, tmp_path: Path) -> None:
    for text in (
        f'version: 1\nextends: builtin\n"a{code}b": 1\n',
        f'version: 1\nextends: builtin\nsource: "a{code}b"\n',
    ):
        said = refusal(text, tmp_path)
        assert said.replace("\n", "").isprintable()
        assert "limits.yaml:3: malformed YAML: the control character" in said


TEXTS = ("3:20", "012", "0o17", "0x1f", "0b1", "1_000", "+012", "00", "1e", "yes", "no", "on", "off", "Yes", "y", "=",
         "2027-1-31", "2027-01-31 10:00:00", "1:2:3.5")  # fmt: skip
VALUES: list[tuple[str, Any]] = [
    ("0", 0), ("-7", -7), ("+7", 7), ("1e5", 1e5), ("1.0e+5", 1e5), ("1.", 1.0), (".5", 0.5), ("-0.5E-3", -0.0005),
    ("true", True), ("False", False), ("~", None), ("", None), ("null", None), ("2027-01-31", date(2027, 1, 31)),
    ("12345678901234567890", 12345678901234567890), ("9" * 101, float("9" * 101)),
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_what_only_yaml_1_1_takes_for_a_value_is_text(text: str) -> None:
    assert plain(f"a: {text}") == {"a": text}
    assert FAST(f"a: {text}").get_single_data() == {"a": text}


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_numbers_flags_and_days_are_those_of_yaml_1_2(text: str, value: object) -> None:
    for found in (plain(f"a: {text}"), FAST(f"a: {text}").get_single_data()):
        assert found == {"a": value}
        assert type(found["a"]) is type(value)


@pytest.mark.parametrize("text", ["3:20", "012", "0o17", "1_000", "yes"])
def test_text_is_no_limit_and_the_line_says_so(text: str, tmp_path: Path) -> None:
    message = refusal(HEAD + FAMILY + f"    limits:\n      hidden: {text}\n", tmp_path)
    assert f"limits.yaml:8: families.qwen3.limits.hidden: '{text}' is text, not a number" in message


@pytest.mark.parametrize("version", ["true", "1.5", "'1'", "01", "0x1"])
def test_a_version_is_the_number_one(version: str, tmp_path: Path) -> None:
    assert "limits.yaml:1: version: " in refusal(f"version: {version}\nextends: builtin\n", tmp_path)


def test_a_flag_is_no_number_of_non_finite_entries(tmp_path: Path) -> None:
    assert "generic.nonfinite: should be a number" in refusal("version: 1\ngeneric: {nonfinite: false}\n", tmp_path)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("headroom: 1e308", "headroom: should be less than or equal to 1000000000"),
        ("headroom: .inf", "headroom"),
        ("generic: {max_abs: .inf}", "generic.max_abs"),
        ("deploy: {min_sqnr_db: -1e308}", "deploy.min_sqnr_db: should be greater than or equal to -100"),
        ("deploy: {max_mean_kl: .nan}", "deploy.max_mean_kl"),
        ("regression: {max_growth: .inf}", "regression.max_growth"),
    ],
)
def test_a_bound_that_nothing_breaks_is_no_bound(limits: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(f"version: 1\nextends: builtin\n{limits}\n", tmp_path)


def test_any_bytes_are_read_or_refused_in_words(tmp_path: Path) -> None:
    for place in range(0, 2000, 37):
        text = HEAD + FAMILY + "    limits:\n      hidden: 100\n"
        at = place % len(text)
        for put in ("\t", ":", "- ", "&a ", "*a", "{", "]", "'", "|", "%", "\x07", "!", "\ud800"):
            try:
                parse_limits(text[:at] + put + text[at:], tmp_path / "limits.yaml")
            except InputError as error:
                assert len(str(error).splitlines()) <= 4  # noqa: PT017


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("limits: {hidden: 1e+20}", "layers.0.hidden::max_abs would be limited to 1e+50 (1e+20 with headroom 1e+30)"),
        ("layers: {layers.0.hidden: {hidden: 1e+300}}", "layers.0.hidden::max_abs would be limited to inf"),
        (
            "int8: {site: layers.0.hidden, sqnr_db: 30}\n    limits: {hidden: 1}",
            "int8.max_abs.sqnr_db would be limited to -570 (30 with headroom",
        ),
    ],
)
def test_a_figure_times_its_headroom_is_a_number_that_can_be_exceeded(family: str, said: str, tmp_path: Path) -> None:
    text = f"version: 1\nheadroom: 1e+30\nfamilies:\n  qwen3:\n    model_types: [qwen3]\n    {family}\n"
    with pytest.raises(InputError) as caught:
        select_rules(
            parse_limits(text, tmp_path / "limits.yaml"),
            Identity(model_type="qwen3", layers=1, hidden_size=4),
            sites(1),
        )
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/limits.yaml:6: ")


def test_a_text_may_be_as_long_as_that_and_no_longer() -> None:
    longest = "a" * 20_000
    assert plain(f"a: {longest}") == {"a": longest}
    with pytest.raises(yaml.YAMLError, match="a text of 20001 characters; 20000 are allowed"):
        plain(f"a: {longest}a")


@pytest.mark.parametrize("text", ["0", "-0", "+7", "-12", "1234567890123456789"])
def test_whole_numbers_are_what_they_say(text: str) -> None:
    assert plain(f"a: {text}") == {"a": int(text)}
    assert yaml.load(f"a: {text}", FAST) == {"a": int(text)}
