"""An environment as the recipe for judging alone installs it: this package, the distributions that the recipe names
with what they need, and nothing else. What is installed here is linked into it, nothing is fetched.
"""

import re
import subprocess
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tests.support.markdown import blocks_of, commands_of
from tests.support.paths import REPOSITORY

_NAME = re.compile(r"[\w.-]+")


def named() -> list[str]:
    """What the recipe installs beside the package itself."""
    recipe = next(block for block in blocks_of(REPOSITORY / "docs" / "ci.md") if block.said == "judging alone")
    others, own = commands_of(recipe.text)
    assert own[:3] == ["pip", "install", "--no-deps"]
    return others[2:]


def environment(folder: Path) -> Path:
    """Its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    place = next(folder.glob("lib/python*/site-packages"))
    for name in _with_what_they_need(named()):
        found = distribution(name)
        for file in found.files or ():
            top = place / file.parts[0]
            if file.parts[0] not in ("..", "__pycache__") and not top.exists():
                top.symlink_to(Path(str(found.locate_file(file.parts[0]))))
    (place / "repository.pth").write_text(f"{REPOSITORY}\n")
    metadata = place / "pytest_maxact-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-maxact\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("[pytest11]\nmaxact = pytest_maxact.plugin\n")
    return folder / "bin" / "python"


def ran(python: Path, folder: Path, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Code, in that environment alone, run in `folder`."""
    return subprocess.run(
        [str(python), "-c", code, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def _with_what_they_need(names: list[str]) -> set[str]:
    left, found = [*names], set[str]()
    while left:
        name = left.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # asked for on other systems or versions of Python
        found.add(name)
        left += [match[0] for need in needs if "extra ==" not in need and (match := _NAME.match(need))]
    return found
