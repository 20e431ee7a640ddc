"""A newcomer's shell: bash, the coreutils that pages use, and stand-ins for `python3`, `pip`, `pytest`, `maxact` and
`torchrun`, which ask of a command what it needs and do none of its work.

`python3 -m venv` makes an environment, `pip install` puts `pytest` and `maxact` into it, and an extra or a plugin where
it is named; a command reads files that are there, and those that it writes are there afterwards.
"""

import glob
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_HELPERS = ("bash", "cp", "head", "tail")
_READ = (
    *("--maxact-model", "--maxact-replay", "--maxact-baseline", "--maxact-limits", "--maxact-corpus"),
    *("--limits", "--corpus"),
)
_WRITTEN = ("--maxact-save", "--maxact-verdict", "-o", "--smoothquant", "--kv-scales")
_FLAGS = {"--json", "--loosen", "--per-layer", "--no-waivers", "--co", "-x", "-q"}
_UPDATES = {"--maxact-update", "--update"}
_OTHERS = ("org/name",)
"""What lies on a hub."""


def shell(folder: Path, script: str, given: Iterable[str] = (), *, installed: bool = False) -> str:
    """What goes wrong first when the lines of a page are typed one after the other in `folder`; empty for nothing.

    `given`: files that the page takes as the user's own; `installed`: with the environment made and activated before.
    """
    tools = folder / "tools"
    tools.mkdir()
    for name in _HELPERS:
        (tools / name).symlink_to(str(shutil.which(name)))
    _stand_in(tools / "python3")
    for name in given:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    begin = "python3 -m venv .venv\nsource .venv/bin/activate\npip install .\n" if installed else ""
    environment = {"PATH": str(tools), "HOME": str(folder)}
    done = subprocess.run(
        [str(tools / "bash"), "-e", "-o", "pipefail"], input=begin + script, cwd=folder, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stderr if done.returncode else ""


def _stand_in(path: Path) -> None:
    here = str(Path(__file__).parent)
    lines = (f"#!{sys.executable} -S", "import sys", f"sys.path.append({here!r})", "from newcomer import act")
    path.write_text("\n".join((*lines, f'act("{path.name}")\n')))
    path.chmod(0o755)


def act(program: str) -> None:
    """In the place of a program."""
    words = sys.argv[1:]
    environment = Path(".venv")
    if program == "python3":
        _require(words[:2] == ["-m", "venv"], f"{program} {' '.join(words)}")
        (environment / "bin").mkdir(parents=True, exist_ok=True)
        (environment / "bin" / "activate").write_text(f'PATH="{environment.resolve() / "bin"}:$PATH"\n')
        _stand_in(environment / "bin" / "pip")
    elif program == "pip":
        with (environment / "installed").open("a") as file:
            file.write(f"{' '.join(words)}\n")
        for name in ("pytest", "maxact", "torchrun") if {".", ".[test]"} & set(words) else ():
            _stand_in(environment / "bin" / name)
    else:
        _check(program, words, (environment / "installed").read_text())


def _check(program: str, words: Sequence[str], installed: str) -> None:
    if program == "torchrun":
        launched, *words = words[words.index("-m") + 1 :]
        program = {"pytest_maxact": "maxact"}.get(launched, launched)
    names, options = _parted(words)
    _require("-n" not in options or "xdist" in installed or "[test]" in installed, "unrecognized arguments: -n")
    read = [options[name] for name in _READ if name in options and not _UPDATES & options.keys()]
    if program == "maxact":
        command, *operands = names
        read += operands
        if command == "export":
            cached = "--kv-scales" in options
            sites, what = ("attention", "keys and values") if cached else ("deploy", "inputs of linear layers")
            _require(Path(operands[0]).read_text() == sites, f"{operands[0]} has no {what}")
    for name in read:
        _require(bool(glob.glob(name)) or name in _OTHERS, f"there is no {name}")
    if _UPDATES & options.keys():
        Path(options.get("--maxact-limits") or options["--limits"]).touch()
    for name in (options[name] for name in _WRITTEN if name in options):
        Path(name).write_text(options.get("--sites", ""))


def _parted(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """What is no option, and the options with their values."""
    names: list[str] = []
    options: dict[str, str] = {}
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not name.startswith("-"):
            names.append(name + equals + value)
        elif equals or name in _FLAGS:
            options[name] = value
        else:
            options[name] = left.pop(0) if left else ""
            if name == "--scales":
                left.pop(0)
    return names, options


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        sys.exit(f"{Path(sys.argv[0]).name}: {complaint}")
