"""The report of a series: the verdict first, every figure of every checkpoint, 80 columns in any encoding."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.schema.family import MeasuredOn
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.series.trend import Stage
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.formats import integer_distortion
from tests.support import records
from tests.support.reports import series_report
from tests.support.stages import GROWING, HIDDEN, MLP, findings_of, limit, stage


def text_of(stages: Sequence[Stage], findings: dict[str, list[Finding]] | None = None, **how: object) -> str:
    return series_report(stages, findings, **how)  # type: ignore[arg-type]


def row_of(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()


def is_narrow(text: str, width: int = 80) -> bool:
    return max(map(len, text.splitlines())) <= width


def test_every_column_holds_its_figure() -> None:
    text = text_of(GROWING, findings_of(GROWING, limit(7.0)))

    def quality(one: Stage) -> str:
        reading = one.record[HIDDEN]
        return f"{integer_distortion(reading.calibration, reading.evaluation, 'max_abs').sqnr_db:.1f}"

    header = next(line for line in text.splitlines() if line.startswith("checkpoint"))
    assert header.split() == [
        "checkpoint",
        "step",
        "M",
        "in",
        "to",
        "prev",
        "to",
        "first",
        "jump",
        "massive",
        "INT-8",
        "checks",
    ]
    assert row_of(text, "step-500") == [
        "step-500",
        "500",
        "4",
        "31.hidden",
        "-",
        "-",
        "none",
        "0",
        quality(GROWING[0]),
        "pass",
    ]
    assert row_of(text, "step-1000") == [
        "step-1000",
        "1000",
        "8",
        "31.hidden",
        "2.00",
        "2.00",
        "31",
        "1",
        quality(GROWING[1]),
        "1",
        "FAIL",
    ]
    assert row_of(text, "final") == [
        "final",
        "-",
        "6",
        "31.hidden",
        "0.75",
        "1.50",
        "31",
        "0",
        quality(GROWING[2]),
        "pass",
    ]
    assert is_narrow(text)


def test_a_model_that_came_alive_grew_without_measure() -> None:
    dead, alive = (
        Stage(name=name, step=step, record=records.record({"embedding": [[value]], HIDDEN: [[value]]}))
        for name, step, value in (("a", 1, 0.0), ("b", 2, 5.0))
    )
    assert row_of(text_of([dead, alive]), "b").count("inf") == 2
    assert row_of(text_of([alive, dead]), "a").count("0.00") == 2


def test_trends_show_first_last_and_growth_by_kind() -> None:
    text = text_of(GROWING)
    assert row_of(text, "hidden") == ["hidden", "▁█▅", "4", "6", "+0.8", "(+20.0%)"]
    assert row_of(text, "mlp_output") == ["mlp_output", "▄▄▄", "2", "2", "+0", "(+0.0%)"]
    assert row_of(text_of([stage(4.0, None, "a"), stage(8.0, None, "b")]), "hidden")[-2:] == ["steps", "unknown"]


def test_the_verdict_comes_first_and_names_its_checkpoint() -> None:
    passed = text_of(GROWING, findings_of(GROWING))
    assert passed.startswith("PASS: all 3 checks of 3 checkpoints hold\n")
    failed = text_of(GROWING, findings_of(GROWING, limit(7.0)))
    assert failed.startswith(
        "FAIL: 1 of 3 checks of 3 checkpoints does not hold\n- step-1000: layers.31.hidden: max_abs 8 "
    )
    assert not text_of(GROWING).startswith(("PASS", "FAIL")), "nothing was judged"


def test_a_checkpoint_that_nobody_judged_is_not_shown_as_passed() -> None:
    text = text_of(GROWING, findings_of(GROWING[:2]))
    assert row_of(text, "step-500")[-1] == "pass"
    assert row_of(text, "final")[-1] == "-"


def test_what_was_not_measured_and_what_waivers_lack_is_said() -> None:
    text = text_of(
        GROWING[:1], findings_of(GROWING[:1]), unmeasured=["step-1000", "final"], faults=["the waiver for x is stale"]
    )
    assert text.startswith("FAIL: the waiver for x is stale\n")
    assert "not measured: step-1000, final" in text
    assert text_of([], unmeasured=["step-1"], faults=["could not measure step-1: no"]) == (
        "FAIL: could not measure step-1: no"
    )
    assert "there is nothing to compare it with" in text_of(GROWING[:1], findings_of(GROWING[:1]))


def test_only_checks_that_ran_are_in_the_verdict_and_others_are_counted() -> None:
    text = text_of(GROWING, findings_of(GROWING, limit(7.0)), ran={("step-500", "layers.31.hidden::max_abs")})
    assert text.startswith(
        "PARTIAL: the one check that ran of 1 checkpoint holds\nnot run: 2 checks, of which 1 would fail\n"
    )
    assert row_of(text, "step-500")[-1] == "pass"
    for name in ("step-1000", "final"):
        assert row_of(text, name)[-3:] == ["1", "not", "run"], "neither passed nor failed"


def test_long_names_are_shown_by_their_ends_where_those_tell_them_apart() -> None:
    run = "the-name-of-a-run-that-somebody-chose-checkpoint-"
    long = [replace(one, name=f"{run}{one.step}") for one in GROWING[:2]]
    rows = text_of(long, findings_of(long)).splitlines()
    assert [row.split()[0] for row in rows[2:4]] == ["…-checkpoint-500", "…checkpoint-1000"]
    assert text_of(long, findings_of(long), encoding="ascii").splitlines()[2].startswith("...heckpoint-500 ")
    alike = [replace(one, name=f"{one.step}-{run}") for one in GROWING[:2]]
    assert f"500-{run}"[:10] in text_of(alike, findings_of(alike))


def test_remarks_come_last() -> None:
    stated = MeasuredOn(corpus="mine", sha256="0" * 12, tokens=7000, dtype="bfloat16")
    rules = Ruleset(family="qwen3", shape="house", protocol=None, limits=(), measured=stated)
    told = text_of(GROWING, findings_of(GROWING), rules=rules).partition("fits best.")[2]
    assert " ".join(told.split()).startswith("The figures of shape house were measured on 7 000 tokens of corpus mine")


def test_waived_checks_are_told_with_their_owner() -> None:
    waiver = Waiver(
        site=HIDDEN,
        metric="*",
        checkpoint="*",
        reason="known",
        owner="ann",
        until=date(2026, 3, 31),
        file="limits.yaml",
        line=4,
    )
    findings = {
        name: [replace(finding, waiver=None if finding.passed else waiver) for finding in of_one]
        for name, of_one in findings_of(GROWING, limit(7.0)).items()
    }
    text = text_of(GROWING, findings)
    assert text.startswith("PASS: 2 of 3 checks of 3 checkpoints hold, 1 is waived\n")
    assert "waived until 2026-03-31 by ann: known: step-1000: layers.31.hidden" in text
    assert row_of(text, "step-1000")[-2:] == ["1", "waived"]


# Where checkpoints part


def changed(later: Stage, earlier: Stage, *limits: Limit) -> list[Finding]:
    return [check(later.record, each, earlier.record) for each in limits]


def test_a_checkpoint_parts_from_the_one_before_at_the_first_site_that_changed() -> None:
    limits = [limit(1.5, HIDDEN, "growth", "step-500"), limit(1.5, MLP, "growth", "step-500")]
    text = text_of(
        GROWING[:2],
        {"step-500": findings_of(GROWING)["step-500"], "step-1000": changed(GROWING[1], GROWING[0], *limits)},
    )
    assert text.startswith("FAIL: 1 of 3 checks of 2 checkpoints does not hold\n")
    told = " ".join(text.split())
    assert (
        "step-500 > step-1000: they part at layer 31: 1 of 4 sites changed too much, the first layers.31.hidden (growth"
        " 2, limit 1.5)" in told
    )


def test_breaches_against_a_baseline_outside_the_series_are_told_too() -> None:
    findings = {"step-500": changed(GROWING[0], stage(1.0, name="v1"), limit(1.5, HIDDEN, "growth", "v1"))}
    told = " ".join(text_of(GROWING[:1], findings).split())
    assert (
        "v1 > step-500: they part at layer 31: 1 of 4 sites changed too much, the first layers.31.hidden (growth 4,"
        " limit 1.5)" in told
    )


def test_a_change_of_the_model_as_a_whole_is_told_as_one() -> None:
    findings = {"step-1000": changed(GROWING[1], GROWING[0], limit(0.0, "model", "new_massive_layers", "step-500"))}
    told = " ".join(text_of(GROWING[:2], findings).split())
    assert "step-500 > step-1000: no site changed too much, the model as a whole did: new_massive_layers 1" in told


# What would cross


def test_growth_that_crosses_before_the_horizon_is_a_warning_with_its_step() -> None:
    text = text_of([stage(2.0, 0), stage(4.0, 1000)], limits=[limit(10.0)], horizon=5000)
    told = " ".join(text.split())
    assert "at step 4000 (growth seen over 1000 steps)" in told
    assert (
        "WARNING: layers.31.hidden is at 4 of 10 and grows +2 per 1 000 steps: it would cross its limit at step 4000"
        in told
    )
    assert "no limit would be crossed before step 4000" in text_of(
        [stage(2.0, 0), stage(4.0, 1000)], limits=[limit(10.0)], horizon=4000
    )
    assert "cross" not in text_of([stage(2.0, 0), stage(4.0, 1000)], limits=[limit(10.0)])


def test_a_short_run_is_not_continued_to_a_thousand_steps() -> None:
    stages = [stage(8.0, 0), stage(6.0, 20)]
    text = text_of(stages)
    header, row = (next(line for line in text.splitlines() if line.startswith(name)) for name in ("kind ", "hidden "))
    assert header.endswith(" per 10 steps")
    assert row.endswith(" -1 (-12.5%)")
    assert "growth per step" not in text
    assert "per step\n" in text_of([stage(8.0, 0), stage(6.0, 5)])
    told = " ".join(text_of([stage(2.0, 0), stage(4.0, 20)], limits=[limit(10.0)], horizon=5000).split())
    assert "grows +1 per 10 steps: it would cross its limit at step 80 (growth seen over 20 steps)" in told


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (stage(9.0, None, "final"), "the step of final is not known"),
        (stage(9.0, 500, "x"), "fewer than two of these checkpoints"),
    ],
)
def test_a_series_that_cannot_be_continued_gives_no_all_clear(last: Stage, why: str) -> None:
    text = text_of(
        [*([stage(2.0, 0)] if last.step is None else []), stage(4.0, 500), last], limits=[limit(10.0)], horizon=10**6
    )
    assert f"no growth to continue: {why}" in text
    assert "no limit would be crossed" not in text


def test_of_many_crossings_five_are_told_and_the_others_counted() -> None:
    names = [f"layers.{i}.hidden" for i in range(8)]
    stages = [
        Stage(name=str(step), step=step, record=records.record({name: [[value, 1.0]] for name in names}))
        for step, value in ((0, 2.0), (10, 4.0))
    ]
    text = text_of(stages, limits=[limit(100.0, name) for name in names], horizon=10**6)
    assert text.count("WARNING") == 5
    assert "and 3 more sites before step 1000000" in text


# On any screen


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
@pytest.mark.parametrize("length", [1, 20, 40, 120])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_any_series_fits_80_columns_in_any_encoding(count: int, length: int, encoding: str) -> None:
    stages = [
        stage(16384.0 * (1 + i % 7), 1_000_000 + i, f"{i:02d}".rjust(length, "x")[-max(length, 2) :])
        for i in range(count)
    ]
    text = text_of(
        stages,
        findings_of(stages, limit(20_000.0), limit(1e9, MLP)),
        encoding=encoding,
        limits=[limit(1e6)],
        horizon=10**7,
    )
    text.encode(encoding)
    assert is_narrow(text)
    assert "?" not in text, "nothing is shown that the encoding lacks"
    figures = text.split()
    for one in stages:
        assert str(one.step) in figures, "figures are never cut"


def test_long_names_are_cut_and_their_figures_are_whole() -> None:
    name = "qwen3-0.6b-continued-pretraining-step-42"
    assert len(name) == 40
    stages = [stage(2.0, 1_000_000, "first"), stage(122_880.0, 1_234_567, name, massive=1)]
    findings = findings_of(stages, *[limit(100.0 + i) for i in range(123)])
    text = text_of(stages, findings)
    assert is_narrow(text)
    row = next(line for line in text.splitlines() if " 1234567 " in line)
    assert row.split()[1:] == [
        "1234567",
        "122880",
        "31.hidden",
        "61440.00",
        "61440.00",
        "31",
        "1",
        *row.split()[-3:-2],
        "123",
        "FAIL",
    ]
    shown = "".join(line.split(" ")[0] for line in text.splitlines())
    assert "…raining-step-42" in shown


def test_a_narrow_screen_gets_sixty_columns_and_a_wide_one_its_own() -> None:
    assert is_narrow(text_of(GROWING, findings_of(GROWING), width=20), 60)
    assert is_narrow(text_of(GROWING, findings_of(GROWING), width=200), 200)


def test_bars_of_a_long_series_keep_its_ends() -> None:
    stages = [stage(8.0 if i in (0, 39) else 1.0, i) for i in range(40)]
    bars = row_of(text_of(stages, encoding="ascii"), "hidden")[1]
    assert (len(bars), bars[0], bars[-1], set(bars[1:-1])) == (24, "#", "#", {"_"})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_checkpoint_stands_out_and_breaks_no_report(bad: float) -> None:
    stages = [stage(4.0, 500), stage(bad, 1000), stage(8.0, 1500)]
    text = text_of(
        stages, findings_of(stages, limit(0.0, metric="nonfinite"), limit(1e9)), limits=[limit(1e9)], horizon=2000
    )
    assert text.startswith(
        "FAIL: 2 of 6 checks of 3 checkpoints do not hold\n"
        "the first site with non-finite values in step-1000 is layers.31.hidden"
    )
    assert row_of(text, "step-1000") == [
        "step-1000",
        "1000",
        "NaN/Inf",
        "31.hidden",
        "-",
        "-",
        *row_of(text, "step-1000")[6:8],
        "-",
        "2",
        "FAIL",
    ]
    assert row_of(text, "hidden")[1] == "▁!█"
    assert is_narrow(text)


def test_colour_is_used_where_there_is_any() -> None:
    assert "\x1b[" in text_of(GROWING, findings_of(GROWING), color=True)
    assert "\x1b[" not in text_of(GROWING, findings_of(GROWING))
