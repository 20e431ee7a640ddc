"""A checkpoint that tests of effects share."""

import pytest

from tests.support.effects import Measured, headed, measured


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measured(tmp_path_factory.mktemp("qwen3"), headed("qwen3"))
