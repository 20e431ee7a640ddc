"""Shared fixtures: checkpoints are made once per session; every pytest run inside a test is a real one."""

import gc
import os
import pkgutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; threads that wait leave the processor to others
import pytest
from execnet import gateway_io

import pytest_maxact
from pytest_maxact.settings import surroundings
from tests.support import warm
from tests.support.browser import IN_CI

pytest_plugins = ["pytester"]

OF_TERMINALS = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "PYTHONWARNINGS")
SURROUNDINGS = (*surroundings.SURROUNDINGS, *OF_TERMINALS)
"""What the machine that runs the tests may say of itself, and what is printed, refused or shortened depends on."""

os.environ.setdefault(IN_CI, os.environ.get("CI", ""))
for surrounding in SURROUNDINGS:
    os.environ.pop(surrounding, None)

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
"""Tests start many processes: what they import is compiled by the first of them, and not by each."""

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Tensors here are tiny: a second thread costs more than it does, and several times so on a busy machine."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """What tests need is imported where they run; who only hands them out to workers does not keep these waiting."""
    if session.config.getoption("dist", "no") != "no":
        return
    import torch
    import vl_convert  # noqa: F401  (loads once in a process, and pytester forgets what a test loaded)

    torch.set_num_threads(1)
    if not torch.cuda.is_available():  # before anything imports triton, which torch does when it compiles
        os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_finish() -> None:
    """What was imported and collected is there to stay, and is not looked through for garbage again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen3 with a word tokenizer."""
    from tests.support import tiny

    return tiny.save(tmp_path_factory.mktemp("checkpoint") / "qwen3", tiny.random_model("qwen3"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve short samples for word tokenizers."""
    from tests.support import tiny

    return tiny.write_corpus(
        tmp_path_factory.mktemp("corpus") / "corpus.jsonl", tiny.sentences([5, 9, 3, 12, 7, 7, 4, 11, 6, 8, 10, 5])
    )


@pytest.fixture(scope="session")
def saved(checkpoint: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Record of the random Qwen3."""
    from pytest_maxact.record.file import save
    from tests.support.measuring import record_of

    path = tmp_path_factory.mktemp("record") / "saved.record.safetensors"
    save(record_of(checkpoint, corpus), path)
    return path


@pytest.fixture
def tight(tmp_path: Path) -> Path:
    """Limits under which one site of the random Qwen3 breaches."""
    path = tmp_path / "tight.yaml"
    path.write_text(
        dedent("""\
        version: 1
        extends: builtin
        families:
          qwen3:
            layers:
              "layers.1.hidden": {hidden: 1.0}
        """)
    )
    return path


@pytest.fixture(scope="session")
def _everything_imported(checkpoint: Path, corpus: Path) -> None:
    """Import all modules and measure once before any pytest run inside a test: those unload what they imported first,
    which every run would then import again, and parts of torch cannot be imported twice.
    """
    from tests.support.measuring import record_of

    for module in pkgutil.walk_packages(pytest_maxact.__path__, "pytest_maxact."):
        if not module.name.endswith(("__main__", ".kernel")):
            import_module(module.name)
    import_module("_pytest.stepwise")
    record_of(checkpoint, corpus)


OURS = {"maxact", "xdist", "xdist.looponfail"}
"""Plugins that pytest runs inside a test have."""


@pytest.fixture(scope="session")
def warm_python() -> Iterator[Path]:
    """A command that is Python with torch and transformers imported, in a process of its own."""
    if not hasattr(os, "fork"):
        pytest.skip("forks")
    with tempfile.TemporaryDirectory(prefix="maxact-") as folder, warm.served(Path(folder)) as command:
        yield command


@pytest.fixture
def cold() -> None:
    """Whoever asks for it has processes that import everything themselves."""


@pytest.fixture
def warm_children(warm_python: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Processes that the program starts from a test that asks for it are forked off a warm one."""
    monkeypatch.setattr(sys, "executable", str(warm_python))
    return warm_python


@pytest.fixture(autouse=True)
def _runs_inside_a_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest runs inside a test are deaf to plugins that shuffle, repeat or colour, whichever happen to be installed:
    what they print is compared line by line. Their processes, and workers of xdist, are forked off a warm one.
    """
    if "pytester" not in request.fixturenames:
        return
    request.getfixturevalue("_everything_imported")
    pytester = request.getfixturevalue("pytester")  # it takes the variable away
    others = {plugin.name for plugin in entry_points(group="pytest11")} - OURS
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{name}" for name in sorted(others)))
    if "cold" not in request.fixturenames and hasattr(os, "fork"):
        command = request.getfixturevalue("warm_python")
        popen, popen_args = pytester.popen, gateway_io.popen_args
        monkeypatch.setenv(warm.STANDS_IN, str(command))
        monkeypatch.setattr(gateway_io, "popen_args", lambda spec: [str(command), *popen_args(spec)[1:]])
        monkeypatch.setattr(
            pytester,
            "popen",
            lambda args, **how: popen([str(command) if arg == sys.executable else arg for arg in args], **how),
        )
