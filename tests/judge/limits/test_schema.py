"""The form of a limits file is exported for editors, and is the one that files are read by."""

import json
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import builtin_path, load_limits, parse_limits
from pytest_maxact.judge.limits.schema.document import LimitsDocument
from pytest_maxact.judge.limits.schema.family import Shape
from pytest_maxact.judge.published import published
from tools.write_schema import LIMITS, schemas

FILE = Path("limits.yaml")
OWN = (
    "version: 1\nfamilies:\n  ours:\n    model_types: [ours]\n    shapes:\n"
    "      - name: A\n        layers: 1\n        hidden_size: 4\n        limits: {hidden: 8}\n        checkpoints: "
)


def shape_with(checkpoints: str) -> Shape:
    return parse_limits(OWN + checkpoints + "\n", FILE)[0].document.families["ours"].shapes[0]


def test_the_exported_form_is_the_one_that_files_are_read_by() -> None:
    assert LIMITS.read_text(encoding="utf-8") == schemas()[LIMITS], "write it again: python -m tools.write_schema"
    form = json.loads(schemas()[LIMITS])
    assert form["properties"].keys() == LimitsDocument.model_fields.keys()
    assert form["additionalProperties"] is False


def test_the_shipped_file_names_it_for_editors() -> None:
    first = builtin_path().read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={LIMITS.name}"
    assert builtin_path().with_name(LIMITS.name).is_file()


def test_an_int8_rule_may_stand_alone_for_an_editor_too() -> None:
    single, several = json.loads(schemas()[LIMITS])["$defs"]["Family"]["properties"]["int8"]["anyOf"]
    assert several == {"type": "array", "items": single}


def test_checkpoints_are_named_with_their_own_figures_or_without() -> None:
    assert shape_with("[a, b]").checkpoints == ["a", "b"]
    assert shape_with("[a, b]").figures_of_checkpoints == {}
    shape = shape_with("{a: {max_abs: 8, carrier: layers.0.hidden}}")
    assert [(name, one.max_abs, one.carrier) for name, one in shape.figures_of_checkpoints.items()] == [
        ("a", 8.0, "layers.0.hidden")
    ]


@pytest.mark.parametrize(
    ("checkpoints", "words"),
    [
        ("{a: {max_abs: 8}}", "checkpoints.a.carrier: is missing"),
        ("{a: {max_abs: 0, carrier: x}}", "checkpoints.a.max_abs: should be greater than 0"),
        ("{a: {max_ab: 8, carrier: x}}", "unknown key; did you mean 'max_abs'?"),
        ("[1]", "checkpoints.0: should be a valid string"),
        ("a", "checkpoints: should be a valid list"),
    ],
)
def test_a_fault_in_them_is_named_with_its_place(checkpoints: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        shape_with(checkpoints)
    assert words in str(caught.value)
    assert "limits.yaml:10: families.ours.shapes.0.checkpoints" in str(caught.value)


def test_the_published_checkpoints_are_those_of_the_shipped_file_and_each_is_within_its_shape() -> None:
    (shipped,) = load_limits()
    shapes = [shape for family in shipped.document.families.values() for shape in family.shapes]
    names = [name for shape in shapes for name in shape.checkpoints]
    assert sorted(names) == sorted(one.model for one in published())
    for shape in shapes:
        largest = max(shape.figures_of_checkpoints.values(), key=lambda one: one.max_abs)
        kind = largest.carrier.rpartition(".")[2]
        assert {str(key): figure for key, figure in shape.limits.items()}[kind] == largest.max_abs, shape.name
