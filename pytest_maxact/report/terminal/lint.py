"""What a look at a checkpoint's tensors found: by kind, the tensors, what a runtime makes of it and how to mend it."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LINTS, Lint, LintFault
from pytest_maxact.report.terminal.screen import PROSE, Column, Grid, Part, Screen, Text, to_text

SHOWN = 5
"""How many tensors are shown of one kind."""


def render_lint(name: str, found: Lint, screen: Screen) -> str:
    """As text of at most `screen.width` columns."""
    return to_text(_parts(name, found, screen.width), screen)


def _parts(name: str, found: Lint, width: int) -> Iterator[Part]:
    low = counted(found.modules, "tensor" if found.form.startswith("GGUF") else "module")
    title = f"{found.form}: {counted(found.tensors, 'tensor')}, {low} in low bits"
    beside = cell_len(name) + 2 + cell_len(title) <= min(width, PROSE)
    yield Text.assemble((name, "bold"), f"  {title}" if beside else "")
    if not beside:
        yield Text(title)
    for remarks in (False, True):
        for code, faults in found.by_kind(remarks=remarks).items():
            yield Text()
            yield from _kind(code, faults, found.counts[code])
    yield Text()
    yield _verdict(found)


def _kind(code: str, faults: Sequence[LintFault], count: int) -> Iterator[Part]:
    kind = LINTS[code]
    style = "yellow" if kind.remark else "bold red"
    yield Grid(
        columns=(Column(style=style), Column(style=style, fold=True)),
        rows=[("remark" if kind.remark else "FAULT", f"{kind.means} ({count})")],
        gap=2,
    )
    for fault in faults[:SHOWN]:
        where = f" ({fault.where})" if fault.where else ""
        yield Grid(columns=(Column(), Column(fold=True)), rows=[(" -", f"{fault.tensor}{where}: {fault.what}")])
    if count > SHOWN:
        yield Text(f" - and {count - SHOWN} more")
    rows = [("   runtime:", kind.runtime), ("   mend:", kind.mend), ("   see:", kind.source)]
    yield Grid(columns=(Column(width=11), Column(fold=True)), rows=rows, gap=1)


def _verdict(found: Lint) -> Text:
    remarks = sum(found.counts.values()) - found.red
    beside = f", {counted(remarks, 'remark')}" if remarks else ""
    if found.red:
        return Text(f"{counted(found.red, 'fault')}{beside}", style="bold red")
    return Text(f"nothing is wrong with its tensors{beside}", style="bold green")
