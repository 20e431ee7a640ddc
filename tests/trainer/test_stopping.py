"""When a training run goes on, and when it stops."""

import os
import shutil
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
import torch.distributed.tensor

from pytest_maxact.errors import InputError
from tests.support.paths import REPOSITORY
from tests.support.training import (
    FROM_SCRATCH,
    STEPS,
    Doing,
    hooks_on,
    limits_file,
    logged,
    records_in,
    train,
    trainer_of,
)
from tests.support.waivers import SOON


def test_a_breach_is_a_warning_and_ends_the_run_only_where_that_was_asked_for(
    tmp_path: Path, corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tight = limits_file(tmp_path, FROM_SCRATCH + '    layers: {"layers.1.hidden": {hidden: 0.001}}\n')
    callback = train(tmp_path / "on", corpus, limits=tight)
    assert callback.trainer.state.global_step == STEPS
    assert [finding.site for finding in callback.findings[3]] == ["layers.1.hidden"]
    assert "checks that fail at step 3: 1\n  layers.1.hidden: max_abs" in caplog.text
    assert "training stops" not in caplog.text
    callback = train(tmp_path / "stopped", corpus, limits=tight, stop_on_breach=True)
    assert callback.trainer.state.global_step == 3
    assert "training stops at step 3: layers.1.hidden: max_abs" in caplog.text
    assert "exceeds the limit 0.001;" in caplog.text
    assert records_in(tmp_path / "stopped") == ["checkpoint-3.maxact.safetensors"]


def grow(model: Any) -> None:
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight *= 1000.0


def test_what_changed_is_judged_against_the_first_measurement(tmp_path: Path, corpus: Path) -> None:
    callback = train(
        tmp_path,
        corpus,
        trainer=trainer_of(tmp_path, callbacks=[Doing(4, grow)]),
        every=2,
        stop_on_breach=True,
        limits=limits_file(tmp_path, FROM_SCRATCH),
    )
    assert callback.trainer.state.global_step == 4
    assert callback.findings[2] == ()
    grown = [finding for finding in callback.findings[4] if finding.limit.metric.name == "growth"]
    assert {"layers.1.mlp_output", "layers.1.hidden"} <= {finding.site for finding in grown}
    assert "regression against the first measurement of this run" in grown[0].message
    assert logged(callback)[1]["maxact/breaches"] == len(callback.findings[4])


def test_without_relative_limits_only_those_of_the_family_judge(tmp_path: Path, corpus: Path) -> None:
    limits = limits_file(
        tmp_path,
        "version: 1\ngeneric: {min_margin: null}\nfamilies: {q: {model_types: [qwen3], limits: {hidden: 60000}}}",
    )
    callback = train(tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Doing(4, grow)]), every=2, limits=limits)
    assert callback.findings == {2: (), 4: (), 6: ()}


def test_a_waiver_lets_a_breach_pass(tmp_path: Path, corpus: Path) -> None:
    waiver = f"waive: [{{site: layers.1.hidden, reason: known from the start, owner: me, until: {SOON}}}]"
    tight = limits_file(tmp_path, f'{FROM_SCRATCH}    layers: {{"layers.1.hidden": {{hidden: 0.001}}}}\n{waiver}\n')
    callback = train(tmp_path, corpus, limits=tight, stop_on_breach=True)
    assert callback.findings[3] == ()
    assert callback.trainer.state.global_step == STEPS


@pytest.mark.parametrize("stop", [False, True])
def test_a_measurement_that_cannot_be_made_counts_as_a_breach(
    stop: bool, tmp_path: Path, corpus: Path, saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def sabotage(model: Any) -> None:
        def fail(module: Any, args: Any) -> None:
            if not module.training:
                raise RuntimeError("no evaluation here")

        model.model.layers[1].mlp.register_forward_pre_hook(fail)

    shutil.copy(saved, tmp_path / "checkpoint-3.maxact.safetensors")  # left by another run
    callback = train(
        tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Doing(2, sabotage)]), stop_on_breach=stop
    )
    assert callback.trainer.state.global_step == (3 if stop else STEPS)
    assert "the forward pass failed on samples" in callback.errors[3]
    assert logged(callback, "maxact/failed")[0]["step"] == 3
    assert records_in(tmp_path) == []
    assert hooks_on(callback.trainer.model) == 1
    assert callback.trainer.model.training
    assert ("training stops at step 3: could not measure" in caplog.text) == stop
    assert "nothing was measured in this run" in caplog.text


def test_a_file_of_another_kind_where_a_record_would_go_ends_the_run_before_it_begins(
    tmp_path: Path, corpus: Path
) -> None:
    mine = tmp_path / "checkpoint-3.maxact.safetensors"
    mine.write_text("mine")
    with pytest.raises(InputError, match="there is a file of another kind, which would be lost"):
        train(tmp_path, corpus)
    assert mine.read_text() == "mine"


def test_processes_of_one_run_stop_together(tmp_path: Path, corpus: Path, warm_python: Path) -> None:
    tight = limits_file(tmp_path, FROM_SCRATCH + '    layers: {"layers.1.hidden": {hidden: 0.001}}\n')
    (tmp_path / "run.py").write_text(
        dedent(f"""\
        from pathlib import Path
        import torch
        from pytest_maxact.trainer.callback import MaxActCallback
        from tests.support.training import trainer_of
        trainer = trainer_of(Path({str(tmp_path / "out")!r}), ddp_backend="gloo", save_strategy="no")
        callback = MaxActCallback(trainer, every=2, corpus={str(corpus)!r}, limits={str(tight)!r}, stop_on_breach=True,
                                  json_report={str(tmp_path / "run.json")!r})
        trainer.add_callback(callback)
        trainer.train()
        told = f"{{trainer.state.global_step}} {{sorted(callback.findings)}} {{callback.verdict}}"
        Path({str(tmp_path)!r}, f"rank{{trainer.args.process_index}}").write_text(told)
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()  # gloo may abort a process that exits without
        """)
    )
    python = str(warm_python)
    command = [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "run"]
    environment = {**os.environ, "PYTHON_EXEC": python, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=180, env=environment, check=False
    )
    seen = {file.name: file.read_text() for file in tmp_path.glob("rank?")}
    assert seen == {"rank0": "2 [2] FAIL", "rank1": "2 [] None"}, result.stderr
    assert records_in(tmp_path / "out") == ["checkpoint-2.maxact.safetensors"]
    assert '"finished": true' in (tmp_path / "run.json").read_text()
