"""The report on screens from 60 to 200 columns, of models from 4 to 96 layers: nothing is cut off, nothing that fails,
is waived or is no number is folded away, and names are text whatever they hold.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pytest
from rich.cells import cell_len

from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.outcome import Checkpoint, Outcome
from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.verdict.check import check_bound
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.tally import Told, tally_of
from pytest_maxact.numbers.peaks import Around
from pytest_maxact.record.record import Record
from pytest_maxact.report.terminal.brief import render_brief
from pytest_maxact.report.terminal.closing import render_closing
from pytest_maxact.report.terminal.folding import ALL
from pytest_maxact.report.terminal.outcome import render_outcome
from pytest_maxact.report.terminal.screen import Screen
from tests.support.hostile import NAMES, is_text
from tests.support.records import Measured, record, record_of, sites

WIDTHS = (60, 71, 80, 120, 200)
DEPTHS = (4, 16, 17, 32, 96)
WAIVER = Waiver(
    site="*", metric="*", checkpoint="*", reason="known", owner="ann", until=date(2099, 1, 1), file="mine.yaml", line=4
)
KINDS = ("hidden", "attn_output", "mlp_output", "gate", "router", "kv_latent")


@cache
def deep(layers: int, broken: tuple[str, ...] = ()) -> Record:
    """All alike, but for entries at `broken` sites, which are not finite."""
    values = {site.name: np.array([[1.5, -0.5]]) for site in sites(layers, KINDS)}
    values |= {name: np.array([[1.5, np.nan]]) for name in broken}
    return record(values, layers=layers, hidden_size=2)


@cache
def case(
    layers: int, failing: tuple[str, ...] = (), waived: tuple[str, ...] = (), broken: tuple[str, ...] = ()
) -> Outcome:
    return judged(deep(layers, broken), failing, waived)


def judged(measured: Record, failing: Sequence[str] = (), waived: Sequence[str] = ()) -> Outcome:
    """Of maxima of all sites: those that fail, and those that are let pass."""
    findings = list[Finding]()
    for name in measured.sites:
        found = check_bound(measured, name, "max_abs", 1.0 if name in (*failing, *waived) else 100.0, "max")
        findings.append(replace(found, waiver=WAIVER) if name in waived else found)
    return Outcome(
        checkpoints=(Checkpoint(portrait=portray(measured, findings=findings), findings=tuple(findings)),),
        ran=len(findings),
        verdict=tally_of([Told(checkpoint="", finding=finding) for finding in findings]),
    )


def labels(text: str) -> list[str]:
    """The first cell of every row of the table."""
    table = text[text.index("\nlayer ") :].partition("\n\n")[0]
    return [line.split()[0] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("layers", DEPTHS)
@pytest.mark.parametrize("whole", [False, True])
def test_no_breach_no_waiver_and_no_entry_that_is_no_number_is_hidden(layers: int, width: int, whole: bool) -> None:
    middle = layers // 2
    failing = (f"layers.{middle - 1}.hidden", f"layers.{layers - 2}.kv_latent")
    outcome = case(layers, failing, (f"layers.{middle}.router",), (f"layers.{middle + 1}.gate",))
    screen = Screen(width=width, whole=whole, color=layers == 17)
    text = re.sub(r"\x1b\[[0-9;]*m", "", render_outcome(outcome, screen))
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    assert text.startswith("FAIL: 3 of ")
    rows = labels(text)
    assert {str(middle - 1), str(middle), str(middle + 1), str(layers - 2)} <= set(rows)
    assert {"kv_latent", "router", "gate", "0", str(layers - 1), "embed", "norm"} <= set(rows)
    for words in ("FAIL", "waived", "NaN/Inf"):
        assert words in text[text.index("\nlayer ") :]
    assert f"layers.{middle - 1}.hidden: max_abs 1.5" in " ".join(text.split())


@pytest.mark.parametrize("kind", ["hidden", "gate"])
@pytest.mark.parametrize("layers", DEPTHS)
def test_what_is_too_close_to_call_has_a_row_of_its_own(layers: int, kind: str) -> None:
    name = f"layers.{layers // 2}.{kind}"
    findings = [replace(one, close=True) if one.site == name else one for one in case(layers).checkpoints[0].findings]
    portrait = portray(deep(layers), findings=findings)
    told = tally_of([Told(checkpoint="", finding=finding) for finding in findings])
    text = render_outcome(Outcome(checkpoints=(Checkpoint(portrait=portrait),), verdict=told), Screen())
    (row,) = [line for line in text[text.index("\nlayer ") :].splitlines() if re.search(r"[█░] close\b", line)]
    assert row.split()[0] == (str(layers // 2) if kind == "hidden" else kind)
    assert str(layers // 2) in labels(text)


@pytest.mark.parametrize("layers", DEPTHS)
def test_layers_that_are_folded_are_counted_and_stand_in_ranges(layers: int) -> None:
    text = render_outcome(case(layers, (f"layers.{layers // 2}.hidden",)), Screen())
    stretches = [tuple(map(int, label.split("-"))) for label in labels(text) if "-" in label]
    alone = [int(label) for label in labels(text) if label.isdigit()]
    covered = [*alone, *(layer for first, last in stretches for layer in range(first, last + 1))]
    assert sorted(covered) == list(range(layers))
    folded = layers - len(alone)
    assert (folded > 0) == (layers > ALL)
    assert (f"{folded} of {layers} layers are folded" in " ".join(text.split())) == (folded > 0)
    assert not folded or "-v shows every site of every layer" in " ".join(text.split())


@pytest.mark.parametrize("layers", DEPTHS)
def test_where_all_is_asked_for_every_site_has_a_row(layers: int) -> None:
    rows = labels(render_outcome(case(layers), Screen(whole=True)))
    assert len(rows) == 2 + len(KINDS) * layers
    assert rows.count("attn_output") == rows.count("kv_latent") == layers


def test_a_folded_row_has_the_worst_of_each_column() -> None:
    values = {site.name: np.array([[1.5, -0.5]]) for site in sites(40, KINDS)}
    values["layers.20.attn_output"], values["layers.20.mlp_output"] = np.array([[6.0, 1.0]]), np.array([[7.0, 1.0]])
    values["layers.30.hidden"] = np.array([[9.0, 1.0]])
    text = render_outcome(judged(record(values, layers=40, hidden_size=2)), Screen())
    row = next(line for line in text.splitlines() if line.startswith("1-29 "))
    assert row.split()[1] == "1.5"
    assert row.split()[-4:] == ["6", "7", "1.5", "1.5"]
    assert next(line for line in text.splitlines() if line.startswith("30 ")), "the one that holds M stands alone"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("layers", DEPTHS)
def test_every_one_of_many_breaches_is_named_by_its_place(layers: int, width: int) -> None:
    failing = tuple(
        f"layers.{layer}.{kind}" for layer in range(layers) for kind in ("hidden", "attn_output", "mlp_output")
    )
    text = " ".join(render_outcome(case(layers, failing), Screen(width=width)).split())
    told = text.partition(" what it is, ")[0]
    first = re.findall(r"- (\S+): max_abs", told)
    rest = told.partition(" more: max_abs of ")[2]
    named = {*first}
    for numbers, kind in re.findall(r"layers\.([\d, -]+)\.(\w+)", rest):
        for stretch in numbers.split(", "):
            begin, _, end = stretch.partition("-")
            named |= {f"layers.{layer}.{kind}" for layer in range(int(begin), int(end or begin) + 1)}
    assert named == set(failing)
    if width == 80:
        whole = " ".join(render_outcome(case(layers, failing), Screen(whole=True)).split())
        assert len(re.findall(r"- layers\.\d+\.\w+: max_abs", whole)) == len(failing)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_quiet_run_is_told_in_a_line_that_names_the_first_breach_and_counts_the_others(width: int) -> None:
    quiet = render_brief(case(4, ("layers.1.hidden", "layers.2.hidden")), Screen(width=width), "maxact: ")
    assert max(map(cell_len, quiet.splitlines())) <= width
    assert " ".join(quiet.split()) == (
        "maxact: FAIL: 2 of 26 checks do not hold: layers.1.hidden max_abs: 1.5 exceeds 1 (and 1 more)"
    )
    assert render_brief(case(4), Screen(width=width)) == "PASS: all 26 checks hold"


def test_a_quiet_run_tells_why_nothing_was_measured() -> None:
    lost = Outcome(checkpoints=(Checkpoint(),), ran=3, faults=("could not measure: no weights", "and no room"))
    assert render_brief(lost, Screen()) == "FAIL: could not measure: no weights: and no room"
    why = Outcome(checkpoints=(Checkpoint(),), ran=3, faults=("could not measure: no room\n  choose another device",))
    assert render_brief(why, Screen()) == "FAIL: could not measure: no room; choose another device"
    assert render_brief(Outcome(checkpoints=(Checkpoint(),)), Screen()) == ""


def named(name: str) -> Outcome:
    """A run in which every place of a name holds this one."""
    samples = [
        Measured(
            id=f"{name}{split}", category=name, split=split, values={"embedding": [[1.0]], "layers.0.hidden": [[3.0]]}
        )
        for split in ("calibration", "evaluation")
    ]
    measured = record_of(samples, layers=1, hidden_size=1, model=name, revision=name, corpus=name, stored=name)
    reading = measured.sites["layers.0.hidden"]
    peaks = tuple(
        replace(peak, token=name, part=name, around=Around(before=name, after=name)) for peak in reading.peaks
    )
    seen = replace(measured, sites={**measured.sites, "layers.0.hidden": replace(reading, peaks=peaks)})
    outcome = replace(judged(seen, ["layers.0.hidden"], ["embedding"]), faults=(f"{name} is lost\n  mend {name}",))
    why = replace(WAIVER, reason=name, owner=name, file=name)
    findings = [replace(one, waiver=why) if one.waiver else one for one in outcome.checkpoints[0].findings]
    told = [Told(checkpoint=name, finding=finding) for finding in findings]
    faults = (f"could not measure {name}\n  mend {name}", f"{name} is lost")
    verdict = tally_of(told, faults=faults, warnings=(f"remark on {name}",))
    return replace(outcome, verdict=verdict)


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("kind", NAMES)
def test_a_name_is_text_wherever_it_stands(kind: str, encoding: str, width: int) -> None:
    outcome = named(NAMES[kind])
    screen = Screen(width=width, encoding=encoding)
    for text in (render_outcome(outcome, screen), render_closing(outcome, screen), render_brief(outcome, screen)):
        lines = text.split("\n")
        assert max(map(cell_len, lines)) <= width
        assert all(map(is_text, lines))
        assert not [line for line in lines if re.match(r"\s*::", line) or "##[" in line]
        assert lines[0].startswith("FAIL")
        assert "PASS" not in text
    assert len(render_outcome(outcome, screen).splitlines()) < 400, "and no name fills the screen"


def test_no_name_makes_a_line_of_its_own() -> None:
    text = render_outcome(named("x\nPASS: all 9 checks hold\nlayer"), Screen(width=200))
    assert not [line for line in text.splitlines() if line.lstrip("- ").startswith("PASS")]
