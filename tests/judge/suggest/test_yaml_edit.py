"""One value set in YAML text: everything else stays byte for byte, in whatever way it is written."""

import difflib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import builtin_path
from pytest_maxact.judge.suggest.yaml_edit import Edit, Location
from pytest_maxact.judge.suggest.yaml_edit import assign as assign_all

FILE = Path("mine.yaml")
TEXT = """\
version: 1   # ours
families:
  # the first
  qwen3:
    shapes:
      - name: A
        limits: {hidden:   10, 'gate': 2}   # seen in May

      # the second
      - name: "B"
        limits:
          hidden:      0.50   # aligned
          attn_output: 2

          # of attention
    # before int8
    int8: {min_sqnr_db: 9}

  # the next family
  other:
    model_types: [x,
                  y]
    source: |
      two
      lines
# the end
"""
SHAPES: Location = ("families", "qwen3", "shapes")


def assign(text: str, location: Location, value: Any, path: Path, order: tuple[str, ...] = ()) -> str:
    """One value."""
    return assign_all(text, [(location, value)], path, order)


def changed(location: Location, value: Any, text: str = TEXT, order: tuple[str, ...] = ()) -> list[str]:
    """The lines that an assignment takes out and puts in."""
    after = assign(text, location, value, FILE, order)
    return [line for line in difflib.ndiff(text.splitlines(), after.splitlines()) if line[0] in "+-"]


def test_a_value_is_replaced_in_its_place() -> None:
    line = "        limits: {hidden:   10, 'gate': 2}   # seen in May"
    assert changed((*SHAPES, 0, "limits", "hidden"), 12.5) == [f"- {line}", f"+ {line.replace('10', '12.5')}"]
    assert changed((*SHAPES, 1, "limits", "hidden"), 3) == [
        "-           hidden:      0.50   # aligned",
        "+           hidden:      3   # aligned",
    ]


def test_the_same_value_leaves_the_text_as_it_is() -> None:
    assert assign(TEXT, (*SHAPES, 1, "limits", "hidden"), 0.5, FILE) == TEXT


def test_a_key_is_added_to_a_mapping_on_one_line() -> None:
    _, added = changed((*SHAPES, 0, "limits", "final_norm"), 7)
    assert added == "+         limits: {hidden:   10, 'gate': 2, final_norm: 7}   # seen in May"
    assert assign("a: {}\n", ("a", "b"), {"c": 1}, FILE) == "a: {b: {c: 1}}\n"
    assert assign("a: {x: 1,}\n", ("a", "b"), 2, FILE) == "a: {x: 1, b: 2}\n"
    assert assign("a: [1,\n  2  ]\n", ("a", 2), 3, FILE) == "a: [1,\n  2, 3]\n"


def test_a_key_is_added_to_a_block_where_its_order_says() -> None:
    order = ("name", "headroom", "limits")
    assert changed((*SHAPES, 1, "headroom"), {"hidden": 1.5}, order=order) == ["+         headroom: {hidden: 1.5}"]
    lines = assign(TEXT, (*SHAPES, 1, "headroom"), 1.5, FILE, order).splitlines()
    assert lines[lines.index("        headroom: 1.5") - 1] == '      - name: "B"'


def test_what_is_added_last_stands_before_the_comment_of_the_next_entry() -> None:
    lines = assign(
        TEXT, (*SHAPES, 2), {"name": "C", "limits": {"hidden": 1}, "layer_limits": {"x": {"hidden": 2}}}, FILE
    ).splitlines()
    at = lines.index("      - name: C")
    assert lines[at - 1] == "          # of attention", "a comment that is indented further belongs to the entry before"
    assert lines[at : at + 5] == [
        "      - name: C",
        "        limits: {hidden: 1}",
        "        layer_limits:",
        "          x: {hidden: 2}",
        "    # before int8",
    ]
    assert changed(("families", "qwen3", "source"), "ours: x") == ["+     source: 'ours: x'"]


def test_a_family_is_added_behind_the_last() -> None:
    lines = assign(TEXT, ("families", "new"), {"shapes": [{"name": "N", "limits": {}}]}, FILE).splitlines()
    assert lines[-4:] == ["    shapes:", "      - name: N", "        limits: {}", "# the end"]


def test_a_block_is_replaced_whole() -> None:
    text = "a:\n  - x  # one\n  - y  # two\nb: 1\n"
    assert assign(text, ("a",), ["z"], FILE) == "a:\n  [z]  # two\nb: 1\n"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("'0':\n- 0.0\n", "'0':\n {}\n"),
        ("a:\n  '0':\n  - 0.0\n  b: 1\n", "a:\n  '0':\n   {}\n  b: 1\n"),
        ("'0':\n  - 0.0\n", "'0':\n  {}\n"),
    ],
)
def test_a_list_that_stands_as_far_left_as_its_key_is_replaced_by_what_may_not(text: str, after: str) -> None:
    place = ("a", "0") if text.startswith("a") else ("0",)
    assert assign(text, place, {}, FILE) == after


@pytest.mark.parametrize("value", ["0[", "a, b", "}", "{x", "]"])
def test_text_that_would_end_a_mapping_on_one_line_is_quoted_there(value: str) -> None:
    assert assign("{a: 0.0, b: 1}\n", ("a",), value, FILE) == f"{{a: '{value}', b: 1}}\n"
    assert yaml.safe_load(assign("a: 0.0\n", ("a",), value, FILE)) == {"a": value}
    assert assign("a: 0.0\n", ("a",), "1 Record, no spread", FILE) == "a: 1 Record, no spread\n"


def test_many_values_are_set_at_once() -> None:
    edits: list[Edit] = [
        ((*SHAPES, 1, "limits", "hidden"), 3),
        ((*SHAPES, 1, "limits", "gate"), 4),
        ((*SHAPES, 1, "limits", "final_norm"), 5),
        ((*SHAPES, 0, "limits", "hidden"), 6),
        ((*SHAPES, 0, "limits", "final_norm"), 7),
        ((*SHAPES, 0, "limits", "embedding"), 8),
        ((*SHAPES, 2), {"name": "C"}),
    ]
    after = assign_all(TEXT, edits, FILE)
    one_by_one = TEXT
    for location, value in edits:
        one_by_one = assign(one_by_one, location, value, FILE)
    assert yaml.safe_load(after) == yaml.safe_load(one_by_one)
    assert "limits: {hidden:   6, 'gate': 2, final_norm: 7, embedding: 8}   # seen in May" in after
    assert (
        "          hidden:      3   # aligned\n          attn_output: 2\n          gate: 4\n          final_norm: 5\n"
        in after
    )
    assert [line for line in TEXT.splitlines() if "#" in line and "hidden" not in line] == [
        line for line in after.splitlines() if "#" in line and "hidden" not in line
    ]


def test_of_many_the_one_that_cannot_be_set_is_named() -> None:
    with pytest.raises(InputError, match=r"^mine.yaml:1: b\.h cannot be set"):
        assign_all("a: &x {h: 1}\nb: *x\nc: 1\n", [(("c",), 2), (("b", "h"), 3)], FILE)


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "\n...\n"])
def test_the_end_of_the_file_may_be_written_in_any_way(ending: str) -> None:
    after = assign("a: 1\nb:\n  c: 2" + ending, ("b", "d"), 3, FILE)
    assert yaml.safe_load(after) == {"a": 1, "b": {"c": 2, "d": 3}}
    assert after.startswith("a: 1\nb:\n  c: 2\n  d: 3\n")


def test_small_and_large_numbers_are_read_as_numbers() -> None:
    for number in (1e-7, 3.4e38, 1e16, 0.1, 5):
        assert yaml.safe_load(assign("a: {}\n", ("a", "b"), number, FILE)) == {"a": {"b": number}}


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("a: &x {h: 1}\nb: *x\n", ("b", "h")),
        ("a: &x {h: 1}\nb: *x\n", ("a", "h")),
        ("a: &x\n  h: 1\nb:\n  <<: *x\n  <<: *x\n", ("a", "h")),
    ],
)
def test_what_cannot_be_set_alone_is_refused_with_its_line(text: str, location: Location) -> None:
    with pytest.raises(InputError) as caught:
        assign(text, location, 2, FILE)
    assert str(caught.value).startswith("mine.yaml:")
    assert (
        f"{'.'.join(map(str, location))} cannot be set without a change elsewhere, as with anchors or merge keys\n"
        in str(caught.value)
    )


def test_a_merged_value_is_overridden_where_it_is_merged() -> None:
    text = "a: &x {h: 1, g: 2}\nb:\n  <<: *x\n"
    assert assign(text, ("b", "h"), 5, FILE) == text + "  h: 5\n"


def test_any_figure_of_the_shipped_file_is_set_on_its_own_line() -> None:
    text = builtin_path().read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    for name, family in list(data["families"].items())[::4]:
        place = ("families", name, "shapes", len(family["shapes"]) - 1)
        assert len(changed((*place, "limits", "hidden"), 1.0e-5, text)) == 2
        assert changed((*place, "headroom"), 2, text, ("hidden_size", "headroom")) == ["+         headroom: 2"]
        assert changed((*place[:-1], place[-1] + 1), {"name": "new"}, text) == ["+       - {name: new}"]


_texts = st.text(alphabet="abc019é:#'\"-{}[],*&!%.~ ", max_size=5)
_values = st.recursive(
    st.floats(allow_nan=False, allow_infinity=False) | st.integers() | _texts | st.booleans(),
    lambda inner: st.dictionaries(_texts, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.data(), st.sampled_from([True, False, None]), st.integers(2, 6))
def test_whatever_is_written_reads_back_with_the_one_value(data: st.DataObject, flow: bool | None, indent: int) -> None:
    """`assign` reads back itself and refuses otherwise: here nothing may be refused."""
    document = data.draw(st.dictionaries(_texts, _values, min_size=1, max_size=3))
    place: list[str | int] = []
    here: Any = document
    while isinstance(here, (dict, list)):
        if not here or data.draw(st.booleans()):
            place.append(data.draw(_texts) if isinstance(here, dict) else len(here))
            break
        place.append(
            data.draw(st.sampled_from(list(here)))
            if isinstance(here, dict)
            else data.draw(st.integers(0, len(here) - 1))
        )
        here = here[place[-1]]
    value = data.draw(_values)
    text = yaml.safe_dump(
        document, default_flow_style=flow, indent=indent, width=data.draw(st.sampled_from([20, 4096])), sort_keys=False
    )
    after = yaml.safe_load(assign(text, tuple(place), value, FILE))
    for part in place:
        after = after[part]
    assert after == value
