"""What stands in an ini file is taken in the type that an option has by nature; anything else is refused with its
place.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.settings.ini import Written, ini_value, refuse_unknown
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.settings import Settings

BY_FIELD = {option.field: option for option in OPTIONS}


def value(field: str, value: object, folder: Path | None = None) -> Any:
    return ini_value(BY_FIELD[field], Written(value=value, place="pyproject.toml:3"), folder)


@pytest.mark.parametrize(
    ("field", "written", "meant"),
    [
        ("max_samples", 12, 12),
        ("seed", 0, 0),
        ("seed", -3, -3),
        ("seed", "-3", -3),
        ("slim", True, True),
        ("strict", False, False),
        ("strict", "off", False),
        ("baseline", ["a", " org/b "], ["a", "org/b"]),
        ("baseline", "a\nb", ["a", "b"]),
        ("schemes", ["W8A8", "FP8"], ("W8A8", "FP8")),
        ("deploy", ["w8a8, FP8"], ("W8A8", "FP8")),
        ("effect", "W8A8\n  FP8", ("W8A8", "FP8")),
        ("dtype", "torch.bfloat16", "bf16"),
        ("model", "org/name", "org/name"),
    ],
)
def test_a_value_is_taken_in_its_natural_type_and_as_text(field: str, written: object, meant: object) -> None:
    found = value(field, written)
    assert found == meant
    assert type(found) is type(meant)


WRONG: list[object] = [True, False, 0, 1, 64, 1.5, ["a"], ["a", 3], [["a"]], {"a": "b"}, None]


def natural(field: str) -> tuple[list[object], str]:
    """Of the values above, those that an option takes (or refuses for what they say, not for their type), and what it
    says that it takes.
    """
    kind = next(one.type for one in fields(Settings) if one.name == field)
    if kind is bool:
        return [True, False], "true or false"
    if kind in (int, int | None):
        return [0, 1, 64], "a whole number"
    return ([["a"]], "a list of strings, or one string") if kind == tuple[str, ...] else ([], "one string")


@pytest.mark.parametrize("written", WRONG, ids=str)
@pytest.mark.parametrize("field", BY_FIELD)
def test_a_value_of_another_type_is_refused_with_key_and_place_and_what_is_expected(
    field: str, written: object
) -> None:
    taken, words = natural(field)
    if any(written is one or (written == one and type(written) is type(one)) for one in taken):
        return
    with pytest.raises(InputError) as refused:
        value(field, written)
    text = str(refused.value)
    assert text.startswith(f"pyproject.toml:3: maxact_{field} is ")
    assert f", and takes {words}\n  write it as maxact_{field} = " in text
    assert len(text.splitlines()) == 2


def test_what_a_value_says_is_refused_as_on_the_command_line() -> None:
    with pytest.raises(InputError, match=r"pyproject\.toml:3: maxact_max_samples: '0' is not a whole number above 0"):
        value("max_samples", 0)
    with pytest.raises(InputError, match=r"pyproject\.toml:3: maxact_deploy: names no scheme"):
        value("deploy", "  ")


@pytest.mark.parametrize(("written", "none"), [("", True), ([], True), (False, False), (0, False), ("x", False)])
def test_only_an_empty_text_and_an_empty_list_are_no_value(written: object, none: bool) -> None:
    assert Written(value=written).is_none is none


def test_paths_of_a_list_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    assert value("baseline", ["old", "org/name"], tmp_path) == [str(tmp_path / "old"), "org/name"]
    assert value("limits", "mine.yaml", tmp_path) == str(tmp_path / "mine.yaml")


def test_a_key_that_nobody_reads_is_refused_with_its_place() -> None:
    places = {"maxact_modle": "tox.ini:2", "maxact_xyz": "tox.ini:3", "other": "tox.ini:4"}
    with pytest.raises(InputError) as refused:
        refuse_unknown(["other", "maxact_modle", "maxact_xyz"], places)
    assert str(refused.value) == (
        "tox.ini:2: the gate has no key called maxact_modle (nor called maxact_xyz); did you mean maxact_model?\n"
        "  it would do nothing, unsaid: mend it, or take it out; `pytest --help` lists the keys"
    )
    refuse_unknown(["other", "max_active"], places)


@pytest.mark.parametrize("field", [option.field for option in OPTIONS if option.is_path])
@pytest.mark.parametrize("text", ["a\0b", "~nosuchuser/x", "n" * 300])
def test_a_path_that_no_file_can_have_is_refused_with_its_place(field: str, text: str, tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(InputError, match=rf"^pyproject\.toml:3: maxact_{field}: "):
            value(field, [text] if field == "baseline" else text, folder)


def test_paths_start_from_its_folder_or_from_a_home_and_hub_ids_from_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert (value("verdict", "v.json", tmp_path), value("verdict", "~/v.json", tmp_path)) == (
        str(tmp_path / "v.json"), "/home/me/v.json",
    )  # fmt: skip
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="a link that leads back to itself"):
        value("limits", "loop", tmp_path)
    hub = [option for option in OPTIONS if option.is_path and {"HUB", "MODEL"} & {*(option.metavar or "").split("_")}]
    assert len(hub) == 4
    for option in hub:
        given: object = ["org/name"] if option.repeatable else "org/name"
        assert value(option.field, given, tmp_path) == given
        (tmp_path / "org").mkdir(exist_ok=True)
        (tmp_path / "org/name").touch()
        assert "/org/name" in str(value(option.field, given, tmp_path))
        (tmp_path / "org/name").unlink()
