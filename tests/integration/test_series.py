"""A series of checkpoints through the whole gate: ids, verdicts, trends, the cache, xdist, and what happens when it is
killed.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pytest_maxact.record.file import load
from pytest_maxact.record.record import Record
from tests.support import tiny
from tests.support.gate_runs import CHECKS, RELATIVE, run_gate
from tests.support.trained import run_in, scale_weight

SAMPLES = ("--maxact-max-samples=8", "--maxact-max-seq-len=256")


# Ids and verdicts


def test_every_checkpoint_is_a_node_in_the_order_of_its_step(pytester: pytest.Pytester, run: str, corpus: Path) -> None:
    result = run_gate(pytester, f"--maxact-model={run}", f"--maxact-corpus={corpus}", "--co", "-q")
    ids = [line for line in result.outlines if line.startswith("maxact")]
    assert list(dict.fromkeys(name[: name.index("::", 8)] for name in ids)) == [
        "maxact::checkpoint-5",
        "maxact::checkpoint-10",
        "maxact::checkpoint-20",
    ]
    assert len(ids) == 3 * CHECKS + (0 + 1 + 2) * RELATIVE
    assert "maxact::checkpoint-20::layers.1.hidden::growth[checkpoint-5]" in ids
    assert "maxact::checkpoint-20::layers.1.hidden::growth[checkpoint-10]" in ids
    assert not (pytester.path / ".pytest_cache" / "d").exists()


def test_a_series_passes_and_shows_one_table_and_the_trends(pytester: pytest.Pytester, run: str, corpus: Path) -> None:
    result = run_gate(pytester, f"--maxact-model={run}", f"--maxact-corpus={corpus}", passed=3 * CHECKS + 3 * RELATIVE)
    result.stdout.fnmatch_lines(
        [
            "maxact: 3 checkpoints, checkpoint-5 to checkpoint-20, *",
            f"*all {3 * CHECKS + 3 * RELATIVE} checks of 3 checkpoints hold",
            "checkpoint*step*M in*to prev to first jump massive INT-8 checks",
            "checkpoint-5 *5 * - * - *pass",
            "checkpoint-10*10 *pass",
            "checkpoint-20*20 *pass",
            "kind*trend*first*last*per 10 steps",
            "hidden * +* (+*%)",
        ]
    )
    first = next(place for place, line in enumerate(result.outlines) if line.startswith("PASS"))
    report = result.outlines[first:]
    assert any(line.startswith("WARNING: too little text") for line in report[:12]), "the verdict first"
    assert max(map(len, report)) <= 80


def test_pasted_ids_last_failures_and_names_select(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    limits = tmp_path / "limits.yaml"
    limits.write_text("version: 1\nextends: builtin\nregression: {sites: {layers.2.hidden: {max_growth: 1.02}}}\n")
    options = (f"--maxact-model={run}", f"--maxact-corpus={corpus}", f"--maxact-limits={limits}")
    total = 3 * CHECKS + 3 * RELATIVE
    result = run_gate(pytester, *options, failed=3, passed=total - 3)
    name = "maxact::checkpoint-20::layers.2.hidden::growth[checkpoint-5]"
    assert f"FAILED {name}" in result.stdout.str()
    run_gate(pytester, *options, "--lf", failed=3, deselected=total - 3)
    result = run_gate(pytester, *options, name, failed=1, deselected=total - 1)
    result.stdout.fnmatch_lines(["not run: *", "not measured: checkpoint-10"])
    for member in ("maxact::checkpoint-5", "maxact[checkpoint-5]", f"{limits}::checkpoint-5"):
        result = run_gate(pytester, *options, member, passed=CHECKS, deselected=total - CHECKS)
        assert f"not run: {total - CHECKS} checks" in " ".join(result.stdout.str().split())
        assert "\nPASS" not in result.stdout.str(), "the others were not looked at"
    run_gate(pytester, *options, "--deselect", "maxact[checkpoint-20]", failed=1, passed=2 * CHECKS + RELATIVE - 1)
    run_gate(
        pytester,
        *options,
        "-k",
        "checkpoint-5] and max_abs and not int8",
        passed=8 * tiny.LAYERS + 3,
        deselected=total - 8 * tiny.LAYERS - 3,
    )
    result = run_gate(pytester, *options, "maxact::checkpoint-7::layers.2.hidden::growth")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: no check called maxact::checkpoint-7::layers.2.hidden::growth; list them with --co"]
    )


def test_a_test_of_the_users_runs_once_per_checkpoint(pytester: pytest.Pytester, run: str, corpus: Path) -> None:
    pytester.makepyfile("""
        def test_calm(maxact_record, maxact_check, maxact_checkpoint):
            assert maxact_record.provenance.model.endswith(maxact_checkpoint)
            maxact_check("layers.2.hidden", at_most=1000)

        def test_other(): pass
        """)
    result = run_gate(pytester, f"--maxact-model={run}", f"--maxact-corpus={corpus}", "-m", "not maxact", "-v")
    result.assert_outcomes(passed=4, deselected=3 * CHECKS + 3 * RELATIVE)
    result.stdout.fnmatch_lines(["*::test_calm[[]checkpoint-5[]] PASSED*", "*::test_calm[[]checkpoint-20[]] PASSED*"])


def test_a_baseline_is_held_against_every_checkpoint(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    model = tiny.random_model("qwen3")
    model.layers[0].self_attn.o_proj.weight.data.mul_(0.1)
    tiny.save(tmp_path / "calm", model)
    options = (f"--maxact-model={run}", f"--maxact-corpus={corpus}", f"--maxact-baseline={tmp_path / 'calm'}")
    result = run_gate(pytester, *options)
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"calm > checkpoint-{step}: they part at layer 0: *" for step in (5, 10, 20)])


# The trained checkpoints


def trained_run(pytester: pytest.Pytester, tmp_path: Path, regression: str) -> pytest.RunResult:
    """The trained checkpoints under relative limits of this kind, read from `tmp_path`/run, made there if need be."""
    folder = tmp_path / "run"
    pattern = str(folder / "checkpoint-*") if folder.exists() else run_in(folder)
    limits = tmp_path / "limits.yaml"
    limits.write_text(f"version: 1\nextends: builtin\nregression: {regression}\n")
    return run_gate(
        pytester,
        f"--maxact-model={pattern}",
        SAMPLES[0],
        "--maxact-max-seq-len=512",
        f"--maxact-limits={limits}",
        f"--maxact-cache={tmp_path / 'cache'}",
    )


def test_the_growth_and_the_jump_layer_of_the_trained_run_are_found(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """M grows over the run, and layer 0 multiplies the embedding a hundredfold in every checkpoint."""
    result = trained_run(pytester, tmp_path, "{max_growth: 2.5, max_turn: 0.9}")
    assert result.ret == 0
    rows = [line.split() for line in result.outlines if line.startswith("checkpoint-")]
    assert [int(row[1]) for row in rows] == [900, 1800, 2700, 3600, 4500]
    values = [float(row[2]) for row in rows]
    assert values[-1] > 1.2 * values[0]
    assert [float(row[5]) for row in rows[1:]] == [pytest.approx(value / values[0], abs=0.006) for value in values[1:]]
    assert [row[6] for row in rows] == ["0"] * 5
    growth = {
        line.split()[0]: float(line.split()[4])
        for line in result.outlines
        if line.startswith(("hidden ", "mlp_output ", "final_norm "))
    }
    assert len(growth) == 3
    assert all(value > 0 for value in growth.values())
    below = trained_run(pytester, tmp_path, "{max_growth: 1.2}")
    assert below.ret == 1
    below.stdout.fnmatch_lines(
        [
            "checkpoint-900 > checkpoint-1800: they part at embedding: *",
            "FAILED maxact::checkpoint-1800::layers.5.hidden::growth*",
        ]
    )


def test_a_weight_scaled_by_50_in_the_last_checkpoint_names_its_layer(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    pattern = run_in(tmp_path / "run", (2700, 3600, 4500))
    scale_weight(tmp_path / "run" / "checkpoint-4500", "model.layers.3.mlp.down_proj.weight", 50.0)
    result = run_gate(pytester, f"--maxact-model={pattern}", *SAMPLES)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["checkpoint-3600 > checkpoint-4500: they part at layer 3: *", "*layers.3.mlp_output (growth *", "FAILED *"],
        consecutive=False,
    )
    failed = [line for line in result.outlines if line.startswith("FAILED ")]
    assert failed
    assert all("maxact::checkpoint-4500::" in line for line in failed)
    assert not any(f"layers.{layer}." in line for line in failed for layer in (0, 1, 2))


def test_growth_that_would_cross_a_limit_before_the_horizon_is_warned_of(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    options = (f"--maxact-model={run}", f"--maxact-corpus={corpus}", f"--maxact-cache={tmp_path / 'cache'}")
    records = _records(pytester, options, tmp_path)
    last, slope = (
        records[-1]["layers.2.hidden"].max_abs,
        _slope([5, 10, 20], [record["layers.2.hidden"].max_abs for record in records]),
    )
    limits = tmp_path / "limits.yaml"
    family = f"{{model_types: [qwen3], headroom: 1, limits: {{hidden: {last + 100 * slope}}}}}"
    limits.write_text(f"version: 1\nfamilies: {{q: {family}}}\nregression: {{max_growth: 9}}\n")
    warned = run_gate(pytester, *options, f"--maxact-limits={limits}", "--maxact-horizon=121")
    assert warned.ret == 0
    warned.stdout.fnmatch_lines(
        [
            "WARNING: layers.2.hidden is at * of * and grows +* per 10 steps: it",
            "would cross its limit at step 120 (growth seen over 15 steps)",
        ]
    )
    calm = run_gate(pytester, *options, f"--maxact-limits={limits}", "--maxact-horizon=119")
    calm.stdout.fnmatch_lines(["no limit would be crossed before step 119, were growth to go on as it has"])
    alone = run_gate(pytester, f"--maxact-model={run.replace('*', '20')}", "--maxact-horizon=119")
    assert alone.ret == 4
    alone.stderr.fnmatch_lines(["ERROR: --maxact-horizon looks ahead of a series, and this run has one checkpoint"])


def _slope(steps: list[int], values: list[float]) -> float:
    return float(np.polyfit(steps, values, 1)[0])


def _records(pytester: pytest.Pytester, options: tuple[str, ...], tmp_path: Path) -> list[Record]:
    run_gate(pytester, *options, f"--maxact-save={tmp_path / 'records'}", "-q")
    return [load(tmp_path / "records" / f"checkpoint-{step}.maxact.safetensors") for step in (5, 10, 20)]


# Records of a series


def test_saved_records_of_a_series_are_judged_again_without_the_models(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    first = run_gate(
        pytester, f"--maxact-model={run}", f"--maxact-corpus={corpus}", f"--maxact-save={tmp_path / 'records'}"
    )
    again = run_gate(pytester, f"--maxact-replay={tmp_path / 'records' / '*'}", passed=3 * CHECKS + 3 * RELATIVE)
    tables = [
        [line for line in result.outlines if line.startswith(("checkpoint-", "hidden", "gate"))]
        for result in (first, again)
    ]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 5


def test_a_checkpoint_of_another_tokenizer_in_the_series_is_refused(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    tiny.save(tmp_path / "run" / "checkpoint-30", tiny.random_model("qwen3"), tiny.word_tokenizer(reverse=True))
    result = run_gate(pytester, f"--maxact-model={run}", f"--maxact-corpus={corpus}")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: checkpoint-5 cannot be compared with checkpoint-30: they differ in tokenizer_sha256 (*"]
    )


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("nothing-*", "no folder matches nothing-[*]*"),
        ("half-*", "half-1 matches half-[*] and is no checkpoint: it has no config.json"),
    ],
)
def test_a_pattern_that_finds_no_checkpoint_is_refused(pattern: str, words: str, pytester: pytest.Pytester) -> None:
    (pytester.path / "half-1").mkdir()
    result = run_gate(pytester, f"--maxact-model={pattern}")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {words}"])


@pytest.mark.parametrize("option", ["--maxact-model", "--maxact-baseline"])
def test_a_pattern_that_the_shell_expanded_is_refused(option: str, pytester: pytest.Pytester, corpus: Path) -> None:
    for step in (1, 2):
        tiny.save(pytester.path / "run" / f"step-{step}", tiny.random_model("qwen3"))
    model = [] if option == "--maxact-model" else ["--maxact-model=run/step-1"]
    result = run_gate(pytester, *model, f"--maxact-corpus={corpus}", option, "run/step-1", "run/step-2")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: run/step-2 is a checkpoint, and stands where tests are named, so it would not be gated"]
    )


def test_the_gate_runs_inside_the_checkpoints_own_folder(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(shutil.copytree(checkpoint, tmp_path / "inside"))
    run_gate(pytester, "--maxact-model=.", f"--maxact-corpus={corpus}", passed=CHECKS)


def test_one_broken_checkpoint_fails_and_is_named_and_its_neighbour_is_not_blamed(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    scale_weight(tmp_path / "run" / "checkpoint-10", "layers.1.mlp.down_proj.weight", float("nan"))
    result = run_gate(pytester, f"--maxact-model={run}", f"--maxact-corpus={corpus}")
    assert result.ret == 1
    text = " ".join(result.stdout.str().split())
    assert "the first site with non-finite values in checkpoint-10 is layers.1.mlp_output" in text
    assert (
        f"{RELATIVE} checks of checkpoint-20 could not be judged: checkpoint-10 is broken itself,"
        " layers.1.mlp_output has" in text
    )


def test_a_series_goes_on_without_a_cache_that_cannot_be_and_says_so(
    run: str, corpus: Path, pytester: pytest.Pytester
) -> None:
    (pytester.path / ".pytest_cache").touch()
    run_gate(
        pytester,
        f"--maxact-model={run}",
        f"--maxact-corpus={corpus}",
        exit=0,
        says=["WARNING: Records are not kept, the next run measures all again: the cache of pytest cannot be written"],
        lacks=["ERROR", "Traceback"],
    )
