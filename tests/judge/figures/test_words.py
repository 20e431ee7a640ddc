"""Names of others are text on one line, of bounded length, whatever they hold."""

import pytest

from pytest_maxact.judge.figures.words import MOST, called, plain
from tests.support.hostile import NAMES, is_text


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_is_printable_and_short(name: str) -> None:
    found = plain(NAMES[name])
    assert is_text(found)
    assert len(found) <= MOST
    assert found[:5] == plain(NAMES[name][:5])[:5]
    assert is_text(called(NAMES[name]))


def test_a_model_is_called_by_its_folder_or_its_id() -> None:
    assert called("/somewhere/else/smollm2/") == "smollm2"
    assert called("org/model") == "org/model"
    assert called("model") == "model"
