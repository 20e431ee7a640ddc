"""Settings in what pytest prints: always the option as it is typed there, never its mark."""

from pathlib import Path

import pytest

SLIM = Path(__file__).parents[1] / "data" / "records" / "summary.safetensors"


def said(result: pytest.RunResult) -> str:
    text = str(result.stdout) + str(result.stderr)
    assert not {"\ue000", "\ue001"} & set(text)
    return text


def test_help_names_options_of_pytest(pytester: pytest.Pytester) -> None:
    text = " ".join(said(pytester.runpytest_subprocess("--help")).split())
    assert "needs --maxact-revision with a commit" in text
    assert "which subset --maxact-max-samples and --maxact-max-tokens draw" in text


def test_usage_errors_name_options_of_pytest(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--maxact-seed=3")
    assert result.ret == 4
    assert "--maxact-seed does nothing without --maxact-model or --maxact-replay" in said(result)


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["here", "xdist"])
def test_checks_and_the_report_name_options_of_pytest(pytester: pytest.Pytester, workers: list[str]) -> None:
    """A slim Record keeps no histogram to clip: the check of it is an error."""
    pytester.path.joinpath("limits.yaml").write_text(
        "version: 1\n"
        "extends: builtin\n"
        "families:\n"
        "  qwen3: {int8: {site: carrier, policy: clip_q0.25, max_clip_rate: 1}}\n"
    )
    result = pytester.runpytest_subprocess(f"--maxact-replay={SLIM}", "--maxact-limits=limits.yaml", *workers)
    assert result.ret == 1
    assert "  measure again without --maxact-slim" in said(result)
