"""A series of checkpoints through the whole gate: ids, verdicts, trends, the cache, xdist, and what happens when it is
killed.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from pytest_maxact.record.file import load
from pytest_maxact.record.record import Record
from tests.support import tiny
from tests.support.gate_runs import CHECKS, drop_tensor, run_gate
from tests.support.trained import run_in, scale_weight

RELATIVE = 3 * (4 * tiny.LAYERS + 2) + 2
"""Of one random Qwen3 against one other."""
SAMPLES = "--maxact-max-samples=8"


@pytest.fixture
def run(tmp_path: Path, checkpoint: Path) -> str:
    """Three checkpoints of one random Qwen3 that grows by a tenth from each to the next."""
    for rank, step in enumerate((5, 10, 20)):
        model = tiny.random_model("qwen3")
        model.layers[2].mlp.down_proj.weight.data.mul_(1.1**rank)
        tiny.save(tmp_path / "run" / f"checkpoint-{step}", model)
    return str(tmp_path / "run" / "checkpoint-*")


@pytest.fixture
def counted(pytester: pytest.Pytester) -> Path:
    """A file with a line for every checkpoint that is loaded, by whatever process."""
    pytester.makeconftest("""
        from pathlib import Path
        from pytest_maxact.measure import run as measure

        original = measure.load

        def load(checkpoint, settings):
            with open(Path(__file__).parent / "loads.txt", "a") as file:
                file.write(Path(checkpoint.name).name + "\\n")
            return original(checkpoint, settings)

        def pytest_configure(config):
            measure.load = load

        def pytest_unconfigure(config):
            measure.load = original
        """)
    return pytester.path / "loads.txt"


def loads(file: Path) -> Counter[str]:
    return Counter(file.read_text().split()) if file.exists() else Counter()


# Ids and verdicts


def test_every_checkpoint_is_a_node_in_the_order_of_its_step(pytester: pytest.Pytester, run: str, corpus: Path) -> None:
    result = run_gate(pytester, f"--maxact-model={run}", f"--maxact-corpus={corpus}", "--co", "-q")
    ids = [line for line in result.outlines if line.startswith("maxact")]
    assert list(dict.fromkeys(name.split("::")[0] for name in ids)) == [
        "maxact[checkpoint-5]",
        "maxact[checkpoint-10]",
        "maxact[checkpoint-20]",
    ]
    assert len(ids) == 3 * CHECKS + (0 + 1 + 2) * RELATIVE
    assert "maxact[checkpoint-20]::layers.1.hidden::growth[checkpoint-5]" in ids
    assert "maxact[checkpoint-20]::layers.1.hidden::growth[checkpoint-10]" in ids
    assert not (pytester.path / ".pytest_cache" / "d").exists()


def test_a_series_passes_and_shows_one_table_and_the_trends(pytester: pytest.Pytester, run: str, corpus: Path) -> None:
    result = run_gate(pytester, f"--maxact-model={run}", f"--maxact-corpus={corpus}", passed=3 * CHECKS + 3 * RELATIVE)
    result.stdout.fnmatch_lines(
        [
            "maxact: 3 checkpoints, checkpoint-5 to checkpoint-20, *",
            f"PASS: all {3 * CHECKS + 3 * RELATIVE} checks of 3 checkpoints hold",
            "checkpoint*step*M in*to prev to first jump massive INT-8 checks",
            "checkpoint-5 *5 * - * - *pass",
            "checkpoint-10*10 *pass",
            "checkpoint-20*20 *pass",
            "kind*trend*first*last*per 1 000 steps",
            "hidden * +* (+*%)",
        ]
    )
    report = result.outlines[
        result.outlines.index(f"PASS: all {3 * CHECKS + 3 * RELATIVE} checks of 3 checkpoints hold") :
    ]
    assert max(map(len, report)) <= 80


def test_pasted_ids_last_failures_and_names_select(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    limits = tmp_path / "limits.yaml"
    limits.write_text("version: 1\nextends: builtin\nregression: {sites: {layers.2.hidden: {max_growth: 1.02}}}\n")
    options = (f"--maxact-model={run}", f"--maxact-corpus={corpus}", f"--maxact-limits={limits}")
    total = 3 * CHECKS + 3 * RELATIVE
    result = run_gate(pytester, *options, failed=3, passed=total - 3)
    name = "maxact[checkpoint-20]::layers.2.hidden::growth[checkpoint-5]"
    assert f"FAILED {name}" in result.stdout.str()
    run_gate(pytester, *options, "--lf", failed=3, deselected=total - 3)
    result = run_gate(pytester, *options, name, failed=1, deselected=total - 1)
    result.stdout.fnmatch_lines(["not run: *", "not measured: checkpoint-10"])
    run_gate(pytester, *options, "maxact[checkpoint-5]", passed=CHECKS, deselected=total - CHECKS)
    run_gate(
        pytester,
        *options,
        "-k",
        "checkpoint-5] and max_abs and not int8",
        passed=4 * tiny.LAYERS + 2,
        deselected=total - 4 * tiny.LAYERS - 2,
    )
    result = run_gate(pytester, *options, "maxact[checkpoint-7]::layers.2.hidden::growth")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: no check called maxact[[]checkpoint-7]::layers.2.hidden::growth; list them with --co"]
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
        SAMPLES,
        f"--maxact-limits={limits}",
        f"--maxact-cache={tmp_path / 'cache'}",
    )


def test_the_growth_and_the_jump_layer_of_the_trained_run_are_found(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """M grows over the run, and layer 0 multiplies the embedding a hundredfold in every checkpoint."""
    result = trained_run(pytester, tmp_path, "{max_growth: 2.5}")
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
            "FAILED maxact[[]checkpoint-1800[]]::layers.5.hidden::growth*",
        ]
    )


def test_a_weight_scaled_by_50_in_the_last_checkpoint_names_its_layer(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    pattern = run_in(tmp_path / "run", (2700, 3600, 4500))
    scale_weight(tmp_path / "run" / "checkpoint-4500", "model.layers.3.mlp.down_proj.weight", 50.0)
    result = run_gate(pytester, f"--maxact-model={pattern}", SAMPLES)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["checkpoint-3600 > checkpoint-4500: they part at layer 3: *", "*layers.3.mlp_output (growth *", "FAILED *"],
        consecutive=False,
    )
    failed = [line for line in result.outlines if line.startswith("FAILED ")]
    assert failed
    assert all("checkpoint-4500]::" in line for line in failed)
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
        ["WARNING: layers.2.hidden is at * of * and grows +* per 1 000 steps: it", "would cross its limit at step 120"]
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


# Measured once


def test_the_next_run_measures_only_what_is_new(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path, tmp_path: Path
) -> None:
    options = (f"--maxact-model={run}", f"--maxact-corpus={corpus}")
    run_gate(pytester, *options, passed=3 * CHECKS + 3 * RELATIVE)
    assert loads(counted) == {"checkpoint-5": 1, "checkpoint-10": 1, "checkpoint-20": 1}
    tiny.save(tmp_path / "run" / "checkpoint-40", tiny.random_model("qwen3", seed=0))
    moved = shutil.copytree(tmp_path / "run", tmp_path / "moved")
    run_gate(
        pytester, f"--maxact-model={moved}/checkpoint-*", f"--maxact-corpus={corpus}", passed=4 * CHECKS + 5 * RELATIVE
    )
    assert loads(counted) == {
        "checkpoint-5": 1,
        "checkpoint-10": 1,
        "checkpoint-20": 1,
    }, "checkpoint-40 holds the weights of checkpoint-5"
    tiny.save(tmp_path / "run" / "checkpoint-40", tiny.random_model("qwen3", seed=1))
    run_gate(pytester, *options, "--maxact-family=generic")
    assert loads(counted)["checkpoint-40"] == 1
    assert sum(loads(counted).values()) == 4
    run_gate(pytester, *options, "--maxact-batch-tokens=16", "--maxact-family=generic")
    assert sum(loads(counted).values()) == 8, "another batch plan is another measurement"


def test_under_xdist_each_model_is_loaded_once_in_total(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path
) -> None:
    result = pytester.runpytest_subprocess(
        f"--maxact-model={run}", f"--maxact-corpus={corpus}", "-n", "3", f"--maxact-baseline={run.replace('*', '5')}"
    )
    result.assert_outcomes(passed=3 * CHECKS + 6 * RELATIVE)
    assert loads(counted) == {"checkpoint-5": 1, "checkpoint-10": 1, "checkpoint-20": 1}
    result.stdout.fnmatch_lines(["PASS: all * checks of 3 checkpoints hold"])


def test_under_xdist_without_a_cache_each_model_is_loaded_once_too(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path
) -> None:
    result = pytester.runpytest_subprocess(
        f"--maxact-model={run}", f"--maxact-corpus={corpus}", "-n", "2", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=3 * CHECKS + 3 * RELATIVE)
    assert loads(counted) == {"checkpoint-5": 1, "checkpoint-10": 1, "checkpoint-20": 1}


def test_a_checkpoint_that_cannot_be_measured_is_an_error_of_its_checks_and_of_those_against_it(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    drop_tensor(tmp_path / "run" / "checkpoint-10", "layers.1.mlp.down_proj.weight")
    result = run_gate(pytester, f"--maxact-model={run}", f"--maxact-corpus={corpus}")
    result.assert_outcomes(errors=CHECKS + RELATIVE, failed=RELATIVE, passed=2 * CHECKS + RELATIVE)
    result.stdout.fnmatch_lines(["FAIL: could not measure checkpoint-10: the weights*", "not measured: checkpoint-10"])


def test_a_series_whose_last_checkpoint_cannot_be_measured_has_not_passed(
    pytester: pytest.Pytester, run: str, corpus: Path, tmp_path: Path
) -> None:
    drop_tensor(tmp_path / "run" / "checkpoint-20", "layers.1.mlp.down_proj.weight")
    result = run_gate(
        pytester,
        f"--maxact-model={run}",
        f"--maxact-corpus={corpus}",
        errors=CHECKS + 2 * RELATIVE,
        passed=2 * CHECKS + RELATIVE,
    )
    assert result.ret == 1
    assert "PASS" not in result.stdout.str()
    result.stdout.fnmatch_lines(["FAIL: could not measure checkpoint-20: the weights*"])


def test_what_was_not_selected_is_neither_measured_for_the_report_nor_held_against_the_run(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path, tmp_path: Path
) -> None:
    drop_tensor(tmp_path / "run" / "checkpoint-10", "layers.1.mlp.down_proj.weight")
    (pytester.path / "mine.yaml").write_text("version: 1\nextends: builtin\n")
    options = (f"--maxact-model={run}", f"--maxact-corpus={corpus}", "--maxact-limits=mine.yaml")
    result = run_gate(
        pytester,
        *options,
        "maxact[checkpoint-20]::layers.0.hidden::max_abs",
        passed=1,
        deselected=3 * CHECKS + 3 * RELATIVE - 1,
    )
    assert result.ret == 0
    assert loads(counted) == {"checkpoint-20": 1}
    left = CHECKS + 2 * RELATIVE - 1
    result.stdout.fnmatch_lines(
        [
            "PASS: all 1 checks that ran of 1 checkpoint hold",
            f"not run: {left} checks; of the {CHECKS - 1} that were measured 0 would fail",
            "not measured: checkpoint-5, checkpoint-10",
        ]
    )


def test_weights_that_change_while_they_are_measured_are_kept_under_no_name(
    run: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_maxact.errors import MeasureError
    from pytest_maxact.gate.session import open_session
    from pytest_maxact.measure import run as measure
    from pytest_maxact.settings.settings import Settings

    original = measure.load

    def load_late(checkpoint: object, settings: object) -> object:
        scale_weight(tmp_path / "run" / "checkpoint-5", "layers.1.mlp.down_proj.weight", 2.0)
        return original(checkpoint, settings)  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "load", load_late)
    session = open_session(Settings(model=run, corpus=str(corpus), cache=str(tmp_path / "cache")))
    first, *_ = session.plan.subjects
    with pytest.raises(MeasureError, match="its weight files changed while they were measured"):
        session.records.obtain(first.source)
    assert not list((tmp_path / "cache").glob("*.safetensors"))


# Killed


DRIVER = dedent("""\
    import json, os, random, signal, sys, time
    from pathlib import Path

    import torch
    from pytest_maxact.measure import run as measure
    from pytest_maxact.gate.session import open_session
    from pytest_maxact.settings.settings import Settings

    pattern, corpus, disturbed, undisturbed, seed = sys.argv[1:]
    chosen, log = random.Random(int(seed)), Path(disturbed + ".loads")
    load = measure.load

    def noted(checkpoint, settings):
        with log.open("a") as file:
            file.write(Path(checkpoint.name).name + "\\n")
        return load(checkpoint, settings)

    def series(cache):
        log.write_text("")
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            session = open_session(Settings(model=pattern, corpus=corpus, cache=cache))
            for subject in session.plan.subjects:
                session.records.obtain(subject.source)
            os._exit(0)
        return child

    def wait(child, loads):
        "Until it has begun to load so many checkpoints, or ended: its status, None where it still runs."
        while len(log.read_text().split()) < loads:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
            time.sleep(0.001)

    measure.load = noted
    child = series(undisturbed)
    assert wait(child, 1) is None
    start = time.perf_counter()
    assert os.waitpid(child, 0)[1] == 0
    each = (time.perf_counter() - start) / 3
    attempts, status = [], None
    while status != 0 and len(attempts) < 100:
        manifests = [json.loads(path.read_text()) for path in Path(disturbed).glob("*.json")]
        before = sorted(manifest["measured_from"]["weights_sha256"] for manifest in manifests)
        child = series(disturbed)
        status = wait(child, chosen.randint(0, 2))
        if status is None:
            time.sleep(chosen.uniform(0.0, each))
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        loads = log.read_text().split()
        attempts.append({"killed": os.WIFSIGNALED(status), "status": status, "known": before, "loads": loads})
    print(json.dumps(attempts))
    """)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_killed_at_any_moment_a_series_goes_on_where_it_was(seed: int, run: str, corpus: Path, tmp_path: Path) -> None:
    """Killed again and again, each time at a random moment before, in or after a measurement, until a run gets through;
    then the Records are those of an undisturbed run, byte for byte.
    """
    from pytest_maxact.checkpoint.digest import weights_digest

    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    command = [sys.executable, "-c", DRIVER, run, str(corpus), str(disturbed), str(undisturbed), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    attempts = json.loads(done.stdout)
    assert attempts[-1]["status"] == 0
    assert sum(attempt["killed"] for attempt in attempts) == len(attempts) - 1 >= 1
    assert any(0 < len(attempt["known"]) < 3 for attempt in attempts), "no run was killed halfway"
    names = {weights_digest(folder): folder.name for folder in (tmp_path / "run").iterdir()}
    for attempt in attempts:
        assert not {names[digest] for digest in attempt["known"]} & set(attempt["loads"]), (
            "measured again what was kept"
        )
        assert len(set(attempt["loads"])) == len(attempt["loads"])
    assert contents(disturbed) == contents(undisturbed)
    assert len(contents(undisturbed)) == 6


def contents(folder: Path) -> dict[str, bytes]:
    """Records and manifests of a cache."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.suffix != ".lock"
    }


@pytest.mark.slow
def test_a_killed_pytest_run_is_resumed_by_the_next(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path
) -> None:
    chosen = random.Random(3)
    command = [sys.executable, "-m", "pytest", f"--maxact-model={run}", f"--maxact-corpus={corpus}", "-q"]
    process = subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and sum(loads(counted).values()) < 2:
        time.sleep(0.01)
    time.sleep(chosen.uniform(0, 0.05))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(list((pytester.path / ".pytest_cache" / "d" / "maxact").glob("*.json")))
    assert kept >= 1
    before = sum(loads(counted).values())
    result = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert sum(loads(counted).values()) - before == 3 - kept


@pytest.mark.slow
def test_two_processes_on_one_cache_measure_once_between_them(
    pytester: pytest.Pytester, run: str, corpus: Path, counted: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--maxact-model={run}",
        f"--maxact-corpus={corpus}",
        "-q",
        f"--maxact-cache={cache}",
        "-p",
        "no:cacheprovider",
    ]
    processes = [
        subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert loads(counted) == {"checkpoint-5": 1, "checkpoint-10": 1, "checkpoint-20": 1}
    assert len(contents(cache)) == 6
    for path in cache.glob("*.safetensors"):
        load(path)
