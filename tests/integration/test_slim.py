"""`slim`: a Record is written with figures in place of distributions, and says the same."""

from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load
from tests.support.metrics import value_of
from tests.support.reports import untrusted


def test_measure_slim_writes_what_show_prints_like_the_full_one(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for path, flags in ((tmp_path / "full", []), (tmp_path / "slim", ["--slim"])):
        assert (
            main(["measure", str(checkpoint), "-o", str(path), "--corpus", str(corpus), "--sites", "deploy", *flags])
            == 0
        )
        assert load(path).is_summary == bool(flags)
        capsys.readouterr()
        assert (main(["show", str(path)]), main(["judge", str(path)])) == (0, 0)
        printed.append(capsys.readouterr().out.replace(str(path), "RECORD"))
    assert untrusted(printed[0]) == untrusted(printed[1])
    assert main(["merge", str(tmp_path / "slim"), "-o", str(tmp_path / "whole")]) == 4
    assert "without --slim" in capsys.readouterr().err


def test_a_gate_saves_the_slim_form_with_what_its_limits_name(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.path.joinpath("own.yaml").write_text(
        "version: 1\n"
        "extends: builtin\n"
        "families:\n"
        "  qwen3: {int8: {site: carrier, policy: clip_q0.75, max_clip_rate: 1}}\n"
    )
    run = [
        f"--maxact-model={checkpoint}",
        f"--maxact-corpus={corpus}",
        "--maxact-limits=own.yaml",
        "--maxact-save=r",
        "--maxact-slim",
    ]
    assert pytester.runpytest(*run).ret == 0
    slim = load(pytester.path / "r")
    assert slim.is_summary
    assert 0 < value_of(slim.carrier, "int8.clip_q0.75.clip_rate") < 1
    assert pytester.runpytest("--maxact-replay=r", "--maxact-limits=own.yaml").ret == 0
    pytester.path.joinpath("own.yaml").write_text(
        "version: 1\n"
        "extends: builtin\n"
        "families:\n"
        "  qwen3: {int8: {site: carrier, policy: clip_q0.25, max_clip_rate: 1}}\n"
    )
    result = pytester.runpytest("--maxact-replay=r", "--maxact-limits=own.yaml")
    assert result.ret == 1
    said = " ".join(result.stdout.str().split())
    assert "the Record is slim and does not hold the error of int8.clip_q0.25 at layers.2.hidden" in said
    assert "measure again without --maxact-slim" in said
