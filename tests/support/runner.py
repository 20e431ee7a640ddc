"""What stands for a runner of GitHub Actions in tests: it reads a log, and runs an action in a shell."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMANDS = {
    *("add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "notice", "remove-matcher"),
    *("save-state", "set-env", "set-output", "stop-commands", "warning"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    name: str
    properties: dict[str, str]
    text: str


def read_command(line: str) -> Command | None:
    """What a runner makes of a line of a log, by the source of its `ActionCommand`: `::name properties::text` from the
    beginning on, blanks apart, or `##[name properties]text` anywhere.
    """
    beginning = line.lstrip()
    found = re.match(r"::(.*?)::(.*)", beginning, re.DOTALL)
    if found and (command := _command(found[1], found[2], ",")):
        return command
    found = re.search(r"##\[(.*?)\](.*)", line, re.DOTALL)
    return _command(found[1], found[2], ";") if found else None


def _command(told: str, text: str, separator: str) -> Command | None:
    name, _, rest = told.partition(" ")
    if name.lower() not in COMMANDS:
        return None
    properties = dict(pair.split("=", 1) for pair in rest.split(separator) if "=" in pair)
    return Command(
        name=name,
        properties={key.strip(): _plain(value) for key, value in properties.items()},
        text=_plain(text),
    )


def _plain(text: str) -> str:
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, character)
    return text


class Expressions:
    """What stands between `${{` and `}}`: names, texts, `==`, `!=`, `&&`, `||` and `always()`, as a runner has them."""

    def __init__(self, known: Mapping[str, str], failed: bool = False) -> None:
        self._known, self._failed = known, failed

    def text(self, written: str) -> str:
        return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(self._value(found[1])), written)

    def holds(self, written: str) -> bool:
        """A condition; one that does not say `always()` holds after no failure."""
        inside = re.sub(r"^\$\{\{|\}\}$", "", written)
        return (bool(self._value(inside)) if inside else True) and ("always()" in inside or not self._failed)

    def _value(self, written: str) -> str | bool:
        for operator in ("||", "&&"):
            if operator in written:
                left, right = (part for part in written.split(operator, 1))
                first = self._value(left)
                return self._value(right) if bool(first) is (operator == "&&") else first
        for operator in ("!=", "=="):
            if operator in written:
                left, right = written.split(operator)
                return (self._value(left) == self._value(right)) is (operator == "==")
        written = written.strip()
        if written == "always()":
            return True
        return written[1:-1] if written.startswith("'") else self._known[written]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What became of an action: whether it failed, its outputs, what its shell printed, and the others it used."""

    failed: bool
    outputs: dict[str, str]
    printed: str
    used: tuple[tuple[str, dict[str, str]], ...]


def run_action(action: Mapping[str, Any], inputs: Mapping[str, str], workspace: Path, temp: Path, path: Path) -> Job:
    """Run a composite action as a runner does, with bash. `path`: what comes first on PATH; `python` there is what
    actions/setup-python gives.
    """
    unknown = inputs.keys() - action["inputs"].keys()
    assert not unknown
    known = {f"inputs.{name}": inputs.get(name, str(one.get("default", ""))) for name, one in action["inputs"].items()}
    known |= {
        "github.action_path": "/the/action",
        "runner.temp": str(temp),
        "steps.python.outputs.python-path": str(path / "python"),
    }
    failed, printed, used = False, "", list[tuple[str, dict[str, str]]]()
    for name in ("verdict", "m", "record", "folder"):
        known[f"steps.gate.outputs.{name}"] = ""
    for step in action["runs"]["steps"]:
        expressions = Expressions(known, failed)
        if not expressions.holds(step.get("if", "")):
            continue
        if "uses" in step:
            used.append((step["uses"], {key: expressions.text(str(value)) for key, value in step["with"].items()}))
            continue
        assert "${{" not in step["run"]
        told = temp / f"output-{step['id']}"
        told.touch()
        environment = {key: expressions.text(value) for key, value in step.get("env", {}).items()}
        run = bash(
            step["run"], workspace, {**environment, "GITHUB_OUTPUT": str(told), "PATH": f"{path}:{os.environ['PATH']}"}
        )
        failed, printed = failed or run.returncode != 0, printed + run.stdout + run.stderr
        known |= {f"steps.{step['id']}.outputs.{key}": value for key, value in read_outputs(told.read_text()).items()}
    outputs = {name: Expressions(known).text(one["value"]) for name, one in action["outputs"].items()}
    return Job(failed=failed, outputs=outputs, printed=printed, used=tuple(used))


def read_outputs(text: str) -> dict[str, str]:
    """What a step wrote for others: `name=value`, or `name<<MARK` and lines up to the mark."""
    found, lines = dict[str, str](), iter(text.split("\n"))
    for line in lines:
        if heredoc := re.fullmatch(r"([\w-]+)<<(.+)", line):
            value = list[str]()
            while (one := next(lines)) != heredoc[2]:
                value.append(one)
            found[heredoc[1]] = "\n".join(value)
        elif line:
            name, _, found_value = line.partition("=")
            found[name] = found_value
    return found


def bash(script: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As a runner calls it, that of GitLab too, which stops at the first command that fails."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip


def own_python(folder: Path, *, runs: bool = True) -> Path:
    """A `python` whose environments are this one, and whose pip only notes what it was asked for, in `pip.log`. Without
    `runs` its pytest does no more either, in `pytest.log`, but put a file where the Record goes, and fail.
    """
    folder.mkdir()
    python, pip, pytest = folder / "python", folder / "pip.log", folder / "pytest.log"
    noted = (
        f'if [ "$1 $2" = "-m pytest" ]; then printf "%s\\0" "${{@:3}}" >{shlex.quote(str(pytest))}; '
        'for one in "$@"; do case $one in --maxact-save=*) touch "${one#*=}";; esac; done; exit 3; fi\n'
    )
    python.write_text(
        "#!/usr/bin/env bash\n"
        'if [ "$1 $2" = "-m venv" ]; then mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python"; exit; fi\n'
        f'if [ "$1 $2" = "-m pip" ]; then printf "%s\\0" "${{@:3}}" --- >>{shlex.quote(str(pip))}; exit; fi\n'
        f"{'' if runs else noted}"
        f'exec {shlex.quote(sys.executable)} "$@"\n'
    )
    python.chmod(0o755)
    return folder


def calls_in(log: Path) -> list[list[str]]:
    """The arguments of every call that it noted."""
    calls: list[list[str]] = [[]]
    for word in log.read_text().split("\0")[:-1]:
        calls = [*calls, []] if word == "---" else [*calls[:-1], [*calls[-1], word]]
    return [call for call in calls if call]
