"""The parts of docs/ that follow from the program, written from it: the tables of options and schemes, the
commands, and the architectures. What stands between `<!-- written: NAME -->` and `<!-- written -->` belongs to this
script.

    python -m tools.write_docs                   # all of them; half a minute, for the architectures are built
    python -m tools.write_docs options schemes   # some

Tests compare what is there with what this would write.
"""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tools.write_api import api, fixtures

if TYPE_CHECKING:
    from pytest_maxact.numbers.schemes import Quantizer, Scheme
    from tests.support.zoo.survey import Outcome

DOCS = Path(__file__).parents[1] / "docs"


def options() -> str:
    """The table of docs/options.md: every option of the gate as pytest takes it, and its ini name."""
    from pytest_maxact.errors import worded
    from pytest_maxact.settings.option import pytest_option
    from pytest_maxact.settings.options import OPTIONS

    rows = [
        (
            f"`{pytest_option(option.field)}{f'={option.metavar}' if option.metavar else ''}`",
            f"`{option.ini}`",
            worded(option.help, pytest_option),
        )
        for option in OPTIONS
    ]
    return _table(("option", "ini", "meaning"), rows)


def schemes() -> str:
    """The table of docs/deploy.md: what every scheme does to activations and weights."""
    from pytest_maxact.numbers.schemes import ALIASES, SCHEMES

    def name(scheme: "Scheme") -> str:
        others = [f" (`{alias}`)" for alias, meant in ALIASES.items() if meant == scheme.name]
        return f"`{scheme.name}`{''.join(others)}"

    rows = [
        (name(scheme), *((f"cast to {scheme.cast}",) * 2 if scheme.cast else _operands(scheme)))
        for scheme in SCHEMES.values()
        if not scheme.cache
    ]
    return _table(("scheme", "activations", "weights"), rows)


def caches() -> str:
    """The table of docs/kv_cache.md: what every scheme does to keys and values."""
    from pytest_maxact.numbers.caches import CACHES
    from pytest_maxact.numbers.schemes import ALIASES

    def names(name: str) -> str:
        return f"`{name}`{''.join(f' (`{alias}`)' for alias, meant in ALIASES.items() if meant == name)}"

    rows = [(names(name), how.in_words, f"`{how.dtype}`" if how.dtype else "-") for name, how in CACHES.items()]
    return _table(("scheme", "keys and values", "`--kv-cache-dtype` of vLLM"), rows)


def _operands(scheme: "Scheme") -> tuple[str, str]:
    return _quantized(scheme.activations, "token"), _quantized(scheme.weights, "channel")


def _quantized(how: "Quantizer | None", row: str) -> str:
    if how is None:
        return "16 bits"
    number = {"fp8_e4m3": "E4M3", "fp4_e2m1": "E2M1"}.get(how.number, how.number.replace("int", "INT-"))
    shared = {
        "tensor": "per tensor",
        "row": f"per {row}",
        "group": f"per group of {how.group}",
        "block": f"per block of {how.group} x {how.group}",
    }[how.granularity]
    above = "one static scale" if row == "token" else "one scale"
    scale = {"e8m0": ", scale a power of two", "e4m3": f", scale E4M3 below {above} for the tensor"}.get(how.scale, "")
    return f"{number} {shared}{scale}{', static' if how.static else ''}"


def commands() -> str:
    """The sections of docs/cli.md: a command, what it does, and what it takes."""
    parser = _command_line()
    (subcommands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in subcommands._choices_actions}
    return "\n".join(line for name, command in subcommands.choices.items() for line in _command(name, helps, command))


def machine() -> str:
    """The sentence of docs/cli.md on `--json`: the commands that take it."""
    parser = _command_line()
    (subcommands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    *names, last = (f"`{name}`" for name, one in subcommands.choices.items() if "--json" in one._option_string_actions)
    return f"{', '.join(names)} and {last} take `--json`; a figure there is a number or null, for JSON has no infinity."


def _command_line() -> argparse.ArgumentParser:
    from pytest_maxact.cli.main import command_line

    return command_line()


def _command(name: str, helps: Mapping[str, str], parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"### maxact {name}"
    yield ""
    yield f"{_sentence(helps[name])}"
    yield ""
    rows = [
        (_usage(action), f"{action.help or ''}{' (required)' if action.option_strings and action.required else ''}")
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction)
    ]
    yield _table(("takes", "meaning"), rows)


def _usage(action: argparse.Action) -> str:
    metavar = " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar or ""
    if not action.option_strings:
        return f"`{metavar}{' ...' if action.nargs == '+' else ''}`"
    return f"`{', '.join(action.option_strings)}{f' {metavar}' if action.nargs != 0 else ''}`"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def explained() -> str:
    """The sections of docs/explain.md: what `maxact explain` says of everything, answers that many share once."""
    from pytest_maxact.errors import worded
    from pytest_maxact.judge.explain.entry import GROUPS, USUAL
    from pytest_maxact.judge.explain.lookup import every
    from pytest_maxact.settings.option import pytest_option

    entries = list(every())
    lines = ["## What to do", "", *(f"- **{cause}**: {do}" for cause, do in USUAL), ""]
    for group, title in GROUPS.items():
        lines += [f"## {title.partition(':')[0].capitalize()}", ""]
        for entry in (entry for entry in entries if entry.group == group):
            facts = (("unit", entry.unit), ("measured", entry.measured), ("a breach", entry.breach))
            lines += [f"### `{entry.name}`", "", entry.what, ""]
            lines += [f"- {name}: {text}" for name, text in facts]
            lines += [f"- **{cause}**: {do}" for cause, do in entry.todo if (cause, do) not in USUAL]
            if shared := [cause for cause, do in entry.todo if (cause, do) in USUAL]:
                lines += [f"- [as above](#what-to-do): {'; '.join(shared)}"]
            lines += [""]
    return worded("\n".join(lines), pytest_option)


def _table(head: tuple[str, ...], rows: Collection[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def architectures(outcomes: Mapping[str, "Outcome"]) -> str:
    """docs/architectures.md, of what every causal-LM architecture resolved to."""
    import transformers

    from tests.support.zoo.configs import TYPES

    supported = [o for o in outcomes.values() if o.anatomy is not None]
    absent = [o for o in supported if o.anatomy and any(entry.by_design for entry in o.anatomy.left_out)]
    built = [o for o in outcomes.values() if o.model is not None]
    rows = [f"| `{outcome.model_type}` | {_status(outcome, TYPES)} |" for outcome in outcomes.values()]
    return "\n".join(
        [
            (
                f"Every causal-LM `model_type` of transformers {transformers.__version__}, built from its default"
                " config on the meta device and resolved by `tests/checkpoint/sites/test_contract.py`;"
                " written by `python -m tools.write_docs`."
            ),
            "",
            (
                f"{len(built)} of {len(outcomes)} types build from their default config. Of these,"
                f" {len(supported) - len(absent)} have the full site list, {len(absent)} lack a kind of site by design,"
                f" {len(built) - len(supported)} cannot be measured. {len(TYPES)} types are also run at a small size,"
                " in a padded batch, and their maxima compared with plain hooks (marked *)."
            ),
            "",
            "| model_type | sites |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _status(outcome: "Outcome", small: Collection[str]) -> str:
    star = " *" if outcome.model_type in small else ""
    if outcome.model is None:
        checked = "checked at a small size *" if star else "not checked"
        return f"its default config does not build; {checked}"
    if outcome.anatomy is None:
        return f"unsupported: {outcome.error.removeprefix(f'{outcome.model_type} cannot be measured: ')}"
    without = list(dict.fromkeys(entry.what.split(" of ")[0] for entry in outcome.anatomy.left_out if entry.by_design))
    partly = {
        entry.what.split(" of ")[0] for entry in outcome.anatomy.left_out if entry.by_design and " of " in entry.what
    }
    lacking = ", ".join(f"{kind} in some layers" if kind in partly else kind for kind in without)
    mixers = sorted({site.detail for site in outcome.anatomy.sites if site.kind == "attn_output"} - {"attention"})
    routed = ", experts" if outcome.anatomy.experts else ""
    kinds = f" ({', '.join(mixers)} mixers{routed})" if mixers else f" ({routed.removeprefix(', ')})" if routed else ""
    return f"{f'absent by design: {lacking}' if lacking else 'full'}{kinds}{star}"


def all_architectures() -> str:
    from tests.support.zoo.survey import survey

    return architectures(survey())


def lints() -> str:
    """The table of docs/artifacts.md: every finding, what a runtime makes of it, how to mend it, and the source."""
    from pytest_maxact.numbers.lint import LINTS

    rows = [
        (
            f"`{code}`{', a remark' if kind.remark else ''}",
            f"`{kind.metric}`",
            kind.means,
            kind.runtime,
            kind.mend,
            f"[{'/'.join(kind.source.split('/')[-4:][i] for i in (1, 3))}]({kind.source})",
        )
        for code, kind in LINTS.items()
    ]
    return _table(("finding", "check", "what", "a runtime", "mend", "source"), rows)


def published() -> str:
    """The table of docs/paper.md: the checkpoints of the paper, by M."""
    from pytest_maxact.judge.published import published

    rows = [
        (one.model, one.family, f"{one.layers} x {one.hidden_size}", f"{one.max_abs:g}", f"`{one.carrier}`")
        for one in reversed(published())
    ]
    return _table(("checkpoint", "family", "layers x width", "M", "in"), rows)


WRITTEN: Mapping[str, tuple[str, Callable[[], str]]] = {
    "options": ("options.md", options),
    "schemes": ("deploy.md", schemes),
    "caches": ("kv_cache.md", caches),
    "commands": ("cli.md", commands),
    "machine": ("cli.md", machine),
    "explained": ("explain.md", explained),
    "api": ("api.md", api),
    "fixtures": ("api.md", fixtures),
    "published": ("paper.md", published),
    "lints": ("artifacts.md", lints),
    "architectures": ("architectures.md", all_architectures),
}
"""What is written, and into which page."""


def with_part(page: str, name: str, text: str) -> str:
    """The page with the part of this name replaced. Raises ValueError where the page has no such part."""
    part = re.compile(rf"(<!-- written: {name} -->\n).*?(\n<!-- written -->)", re.DOTALL)
    if not part.search(page):
        raise ValueError(f"no part `<!-- written: {name} -->` ... `<!-- written -->` in the page")
    return part.sub(lambda found: f"{found[1]}{text.strip()}{found[2]}", page)


def main(names: Collection[str]) -> None:
    for name in names or WRITTEN:
        file, write = WRITTEN[name]
        path = DOCS / file
        path.write_text(with_part(path.read_text(), name, write()))


if __name__ == "__main__":
    main(sys.argv[1:])
