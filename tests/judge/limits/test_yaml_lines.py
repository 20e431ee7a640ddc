"""The shipped limits are read by libyaml's parser, and must be read as by PyYAML's own: the same data and lines."""

import pytest
import yaml

from pytest_maxact.judge.limits.file import builtin_path
from pytest_maxact.judge.limits.yaml_lines import Lines, Location, read_yaml
from pytest_maxact.judge.limits.yaml_loader import FAST


def places(data: object, here: Location = ()) -> list[Location]:
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [here, *(place for key, value in entries for place in places(value, (*here, key)))]


def test_both_parsers_read_the_shipped_limits_alike() -> None:
    if not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML was built without libyaml, so there is one parser")
    data, lines = read_yaml(builtin_path())
    fast, fast_lines = read_yaml(builtin_path(), FAST)
    assert fast == data
    assert repr(fast) == repr(data), "1 and 1.0 are equal and mean different things"
    found = places(data)
    assert len(found) > 400
    assert [fast_lines.of(place) for place in found] == [lines.of(place) for place in found]
    assert isinstance(fast_lines, Lines)
