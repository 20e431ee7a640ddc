"""Every option and argument of every command that takes text is given what no file can be called, or what is none: each
ends in a message and an exit code, never in a traceback, and waits for nobody.

A new option or argument is tried by being there.
"""

import argparse
import os
import re
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.errors import InputError
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.places import expanded, place
from tests.support.commands import COMMANDS

_PLACES = ("FILE", "DIR", "RECORD", "VERDICT", "RECORD_OR_MODEL", "MODEL_OR_RECORD", "PATH_OR_HUB_ID")
"""How a command calls a path that it takes."""
_IN_A_FOLDER = "weights"
"""The option whose FILE is looked for in the folder or the repository of the model, and is no path of its own."""
TEXTS = {
    "NUL": "a\0b", "NUL of a user": "~a\0b/x", "no user": "~nosuchuser/x", "long name": "n" * 300,
    "long path": "/".join(["d" * 99] * 50), "half a character": "a\ud800b", "empty": "", "blank": "  ",
}  # fmt: skip
"""What no file can be called."""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What lies there and is no file, or may not be taken for one."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("hello")
    for name in ("loop", "dangling"):
        (tmp_path / name).symlink_to("loop" if name == "loop" else "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with suppress(PermissionError):  # of one's own: what replaced that of the machine would break it
        os.mknod(tmp_path / "device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as open_socket:
        monkeypatch.chdir(tmp_path)  # the name of a socket is short
        open_socket.bind("socket")
        there = {path.name: str(path) for path in tmp_path.iterdir()}
        yield there | {"below a file": str(tmp_path / "text" / "x"), "below none": str(tmp_path / "none" / "x")}


def asked_besides(name: str, values: dict[str, str], without: argparse.Action) -> list[str]:
    """Options that a command does not go without, but for one."""
    if name == "export":
        return [] if without.option_strings else ["--smoothquant", "tensors"]
    if name == "card":
        return [] if without.dest == "card" else ["-o", "README.md"]
    actions = [action for action in COMMANDS[name]._actions if action.option_strings and action is not without]
    return [word for action in actions for word in _given(action, values)]


def _given(action: argparse.Action, values: dict[str, str]) -> list[str]:
    if action.option_strings:
        return [action.option_strings[0], values[action.dest]] if action.required else []
    return [] if action.nargs in ("?", "*") else [values[action.dest]]


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code and what was said of it; a command that waits is broken off."""

    def waited(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"{words} waits")

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(30)
    try:
        code = main(words)
    except SystemExit as ended:
        code = int(str(ended.code))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    printed = capsys.readouterr()
    said = printed.err or printed.out
    assert all(line.isprintable() for line in (printed.out + printed.err).splitlines()), words
    assert not any(line.startswith("::") for line in said.splitlines()), words
    return code, said


def texts_of(name: str) -> list[argparse.Action]:
    return [
        action
        for action in COMMANDS[name]._actions
        if action.nargs != 0 and not action.choices and not isinstance(action, argparse._HelpAction)
    ]


def is_place(action: argparse.Action) -> bool:
    called = action.metavar if isinstance(action.metavar, tuple) else (action.metavar,)
    return action.dest != _IN_A_FOLDER and bool({*called} & {*_PLACES})


def words_with(name: str, action: argparse.Action, text: str, values: dict[str, str]) -> list[str]:
    """The words of a command in which one option or argument is this text."""
    words = [name, *asked_besides(name, values, action)]
    if action.option_strings:
        words += [action.option_strings[0], *(["FP8"] if action.nargs == 2 else []), text]
    places = [one for one in COMMANDS[name]._actions if not one.option_strings]
    return [*words, "--", *(word for one in places for word in ([text] if one is action else _given(one, values)))]


def test_every_option_and_argument_that_takes_a_path_has_it_looked_at() -> None:
    assert not [option.name for option in OPTIONS if option.is_path and option.parse is not place]
    assert not [
        (name, action.dest)
        for name in COMMANDS
        for action in texts_of(name)
        if is_place(action) and action.type is not place
    ]


@pytest.fixture
def values(saved: Path, checkpoint: Path, tmp_path: Path) -> dict[str, str]:
    """What is right, for every argument that a command does not go without."""
    record, model = str(saved), str(checkpoint)
    return {
        "replay": record, "records": record, "parts": record, "before": record, "after": record, "model": model,
        "verdict": record, "name": "max_abs", "save": str(tmp_path / "out"), "html": str(tmp_path / "page.html"),
    }  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_no_file_can_be_called_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        place(text)
    said = str(refused.value)
    assert "; " in said
    assert said.isprintable()
    assert len(said) < 200
    if text.strip():
        with pytest.raises(InputError, match=r"\n  (give|write)"):
            expanded(text)


def test_a_home_is_put_for_its_sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place("~/a b") == str(expanded("~/a b")) == f"{tmp_path}/a b"
    assert place("org/model") == "org/model"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(argparse.ArgumentTypeError, match="a link that leads back to itself; mend the link"):
        place(f"{tmp_path}/loop/x")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_it(
    name: str,
    values: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for action in filter(is_place, texts_of(name)):
        code, said = told(words_with(name, action, "a\0b", values), capsys)
        assert code == 4
        assert said.endswith("has a NUL character in it, which no path has; give it without\n")
    assert not list(tmp_path.iterdir())


def first_of_each() -> Iterator[tuple[str, argparse.Action]]:
    """The arguments and options of commands, those of the table of options once: what they do is one."""
    seen = set[str]()
    table = {option.field for option in OPTIONS}
    for name in COMMANDS:
        for action in filter(is_place, texts_of(name)):
            if action.dest not in table or not action.option_strings or action.dest not in seen:
                yield name, action
            seen.add(action.dest)


@pytest.mark.parametrize(
    ("name", "action"), [pytest.param(name, action, id=f"{name}-{action.dest}") for name, action in first_of_each()]
)
def test_what_lies_there_and_is_no_file_is_told_and_not_waited_for_nor_replaced(
    name: str, action: argparse.Action, values: dict[str, str], hostile: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = {path: os.lstat(path).st_mode for path in hostile.values() if os.path.lexists(path)}
    is_folder = action.metavar == "DIR"
    for kind in ("pipe", "socket", "device", "below a file", *(() if is_folder else ("folder",))):
        if kind not in hostile:
            continue
        code, said = told(words_with(name, action, hostile[kind], values), capsys)
        assert code in (1, 4), (kind, said)
        assert code == 4 or said.startswith("NOT VERIFIED"), (kind, said)
        assert re.search(r"\n  \S|NOT VERIFIED|; ", said), (kind, said)
        assert "Traceback" not in said
        assert before == {path: os.lstat(path).st_mode for path in before}, kind


def test_a_folder_that_is_called_as_a_home_is_has_a_way_to_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["judge", "~nosuchuser"])
    assert "./" not in capsys.readouterr().err
    (tmp_path / "~nosuchuser").mkdir()
    with pytest.raises(SystemExit):
        main(["judge", "~nosuchuser"])
    assert "or ./~nosuchuser for what lies in this folder under that name" in capsys.readouterr().err
    assert place("./~nosuchuser") == "./~nosuchuser"
