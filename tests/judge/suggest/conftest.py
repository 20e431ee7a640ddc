"""A limits file of a person's own."""

from pathlib import Path

import pytest

from tests.support.proposals import OWN


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(OWN)
    return path
