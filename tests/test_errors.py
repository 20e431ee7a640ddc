"""Texts that name settings by field, and the doors that word them."""

import ast
import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_maxact
from pytest_maxact.cli.words import argument as of_the_command
from pytest_maxact.errors import InputError, MaxactError, MeasureError, cut, first_line, marked, setting, shown, worded
from pytest_maxact.settings.option import pytest_option
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.settings import Settings
from pytest_maxact.trainer.words import argument as of_the_callback

PACKAGE = Path(pytest_maxact.__file__).parent
MARKS = "\ue000\ue001"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (pytest_option, "point --maxact-model at it; lower --maxact-max-samples, write --maxact-save FILE"),
        (of_the_command, "point PATH_OR_HUB_ID at it; lower --max-samples, write maxact measure -o FILE"),
        (of_the_callback, "point --maxact-model at it; lower `samples`, write --maxact-save FILE"),
    ],
    ids=["pytest", "command", "callback"],
)
def test_each_door_says_a_setting_as_its_user_types_it(words: Callable[[str], str], said: str) -> None:
    text = f"point {setting('model')} at it; lower {setting('max_samples')}, write {setting('save')} FILE"
    assert worded(text, words) == said
    assert InputError(text).worded(words) == said


def test_without_a_door_a_setting_is_its_field() -> None:
    assert str(MeasureError(f"lower {setting('max_seq_len')}")) == "lower `max_seq_len`"


def test_an_error_keeps_its_marks_on_the_way_to_another_process() -> None:
    error = InputError(f"lower {setting('max_seq_len')}\n  or not")
    sent = pickle.loads(pickle.dumps(error))
    assert sent.worded(pytest_option) == "lower --maxact-max-seq-len\n  or not"
    assert MeasureError(marked(error)).worded(of_the_command) == "lower --max-seq-len\n  or not"


def test_the_first_line_keeps_its_marks_whole() -> None:
    assert worded(first_line(InputError(f"lower {setting('seed')}\n  so")), of_the_command) == "lower --seed"
    for length in range(80, 201):
        for text in ("x" * length + setting("max_seq_len"), setting("max_seq_len") + "x" * length, "x " * length):
            line = first_line(InputError(text + "y" * 100 + setting("seed") + "z" * (200 - length)))
            assert not any(mark in worded(line, pytest_option) for mark in MARKS)
            assert len(line) <= 200


def test_the_first_line_of_other_exceptions_is_theirs() -> None:
    assert first_line(ValueError("a" * 200 + "\nb")) == "a" * 200
    assert first_line(ValueError("a word " * 50 + "\nb")) == "a word " * 27 + "a word ..."
    assert first_line(KeyError()) == "KeyError"


words_of_a_text = st.lists(st.text("abc,.é中", min_size=1, max_size=9), min_size=1, max_size=40)


@given(words_of_a_text, st.sampled_from([" ", "\n", "\t"]), st.integers(28, 200))
def test_a_text_is_cut_at_a_word(words: list[str], gap: str, most: int) -> None:
    text = gap.join(words)
    short = cut(text, most)
    assert len(short) <= most
    if len(text) <= most:
        assert short == text
    else:
        kept = short.removesuffix(" ...")
        assert kept != short
        assert kept.split(gap) == words[: len(kept.split(gap))]
        assert len(kept) + len(gap) + len(words[len(kept.split(gap))]) > most - len(" ..."), "one more word would fit"


@given(st.text("ab /\n\ue000\ue001", max_size=99), st.integers(0, 60))
def test_no_text_is_longer_than_it_may_be(text: str, most: int) -> None:
    assert len(cut(text, most)) <= most


@pytest.mark.parametrize(
    ("text", "most", "said"),
    [
        ("/models/qwen/snapshots/0123456789abcdef/model.safetensors", 30, "/models/qwen/...l.safetensors"),
        ("no /models/qwen/snapshots/0123456789abcdef/model.safetensors", 30, "no /models/qw...l.safetensors"),
        ("/models/qwen/snapshots/0123456789abcdef/config.json is no file", 30, "/models/qwen/...on is no file"),
        ("as it is", 8, "as it is"),
        ("as it was", 8, "as ..."),
        ("中文没有空格的句子", 8, "中文...句子"),
    ],
)
def test_of_a_long_name_both_ends_are_shown(text: str, most: int, said: str) -> None:
    assert cut(text, most) == said


def test_errors_are_of_two_kinds() -> None:
    assert set(MaxactError.__subclasses__()) >= {InputError, MeasureError}


def sources() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield str(path.relative_to(PACKAGE)), path.read_text(encoding="utf-8")


def test_only_the_door_of_pytest_writes_its_options_out() -> None:
    assert [name for name, text in sources() if "--maxact-" in text and not name.startswith("plugin")] == []


def test_every_setting_that_a_text_names_exists() -> None:
    named = {
        (name, call.args[0].value)
        for name, text in sources()
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == "setting"
        and isinstance(call.args[0], ast.Constant)
    }
    known = {field.name for field in fields(Settings)}
    assert len(named) > 40
    assert [(name, field) for name, field in sorted(named) if field not in known] == []


def test_help_of_every_option_is_worded_by_both_doors_that_have_options() -> None:
    assert {option.field for option in OPTIONS} == {field.name for field in fields(Settings)}
    for option in OPTIONS:
        for words in (pytest_option, of_the_command):
            assert not any(mark in worded(option.help, words) for mark in MARKS)
    told = next(option.help for option in OPTIONS if option.name == "trust-remote-code")
    assert "needs --maxact-revision with" in worded(told, pytest_option)
    assert "needs --revision with" in worded(told, of_the_command)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain", "plain"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb", r"a\nb"),
        ("\x9b1m\u202e\ud800", r"\x9b1m\u202e\ud800"),
        ("Zürich 中文 👍 \u3000\xa0", "Zürich 中文 👍 \u3000\xa0"),
        (
            "e\u0301 👩\u200d🚀 🏳\ufe0f\u200d🌈 ❤\ufe0f 1\ufe0f\u20e3 👍🏽",
            "e\u0301 👩\u200d🚀 🏳\ufe0f\u200d🌈 ❤\ufe0f 1\ufe0f\u20e3 👍🏽",
        ),
        ("a\u200db \u200d👍 👍\u200d a\ufe0f \ufe0f", r"a\u200db \u200d👍 👍\u200d a\ufe0f \ufe0f"),
        ("a\u3164\u034f\U000e0101\u00ad", r"a\u3164\u034f\U000e0101\xad"),
    ],
)
def test_what_a_terminal_obeys_is_shown_as_text(text: str, said: str) -> None:
    assert shown(text) == said


def test_a_mark_that_is_none_of_a_setting_is_shown_as_text() -> None:
    assert worded("a\ue000 b\ue001 \ue000Z\ue001", of_the_command) == r"a\ue000 b\ue001 \ue000Z\ue001"


def test_of_a_name_of_any_length_a_message_keeps_both_ends() -> None:
    said = str(InputError(f"{'x' * 10_000}y is no model\n  give one; {'a b ' * 3000}end"))
    assert len(said) < 3000
    assert "xy is no model\n  give one; a b" in said
    assert said.endswith("a b end")


def test_no_error_says_what_a_terminal_obeys() -> None:
    error = InputError(f"a\x1b]0;owned\x07 {setting('model')}\n  b\r")
    assert error.worded(lambda field: f"--{field}") == "a\\x1b]0;owned\\x07 --model\n  b\\r"
