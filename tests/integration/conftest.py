"""A run of checkpoints, a count of what is loaded of it, and models sound and loud."""

import shutil
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.headed import headed


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints of one random Qwen3 that grows by a tenth from each to the next."""
    folder = tmp_path_factory.mktemp("grown")
    for rank, step in enumerate((5, 10, 20)):
        model = tiny.random_model("qwen3")
        model.layers[2].mlp.down_proj.weight.data.mul_(1.1**rank)
        tiny.save(folder / f"checkpoint-{step}", model)
    return folder


@pytest.fixture
def run(tmp_path: Path, grown: Path) -> str:
    """A copy of them."""
    return str(shutil.copytree(grown, tmp_path / "run") / "checkpoint-*")


@pytest.fixture
def counted(pytester: pytest.Pytester) -> Path:
    """A file with a line for every checkpoint that is loaded, by whatever process."""
    pytester.makeconftest("""
        from pathlib import Path
        from pytest_maxact.measure import run as measure

        original = measure.load

        def load(checkpoint, *how):
            with open(Path(__file__).parent / "loads.txt", "a") as file:
                file.write(Path(checkpoint.name).name + "\\n")
            return original(checkpoint, *how)

        def pytest_configure(config):
            measure.load = load

        def pytest_unconfigure(config):
            measure.load = original
        """)
    return pytester.path / "loads.txt"


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return headed(tmp_path_factory.mktemp("sound") / "qwen3")


@pytest.fixture(scope="session")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return headed(tmp_path_factory.mktemp("loud") / "qwen3", loud=4096.0)
