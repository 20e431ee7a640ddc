"""A run whose pass may end early is refused where how much text it has must be known beforehand."""

from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.gate.opening import open_run
from pytest_maxact.settings.settings import Settings
from tests.support import tiny


@pytest.mark.parametrize(
    ("pattern", "asked", "why"),
    [
        ("5", {"strict": True}, "`strict` refuses too little text"),
        ("*", {}, "each checkpoint of a series would end elsewhere"),
    ],
)
def test_what_has_to_know_its_text_beforehand_is_refused_by_name(
    pattern: str, asked: dict[str, Any], why: str, tmp_path: Path
) -> None:
    for step in (5, 10):
        tiny.save(tmp_path / f"checkpoint-{step}", tiny.random_model("qwen3"))
    model = str(tmp_path / f"checkpoint-{pattern}")
    with pytest.raises(InputError) as caught:
        open_run(Settings(model=model, until_saturated=100, **asked))
    assert why in caught.value.worded(lambda field: f"`{field}`")
