"""Fixtures for tests of a project's own: figures of the Record, and checks that fail in the gate's words."""

from pathlib import Path

import pytest

from tests.support.gate_runs import CHECKS, run_gate

FIXTURE_TESTS = """
import pytest

def test_reads(maxact_record):
    assert maxact_record["layers.0.hidden"].max_abs > 0
    assert maxact_record.tokens == 87

def test_asserts(maxact_check):
    finding = maxact_check("layers.0.hidden")
    assert finding.passed and finding.value > 0
    maxact_check("carrier", "int8.max_abs.sqnr_db", at_least=1.0)

def test_breach(maxact_check):
    maxact_check("layers.2.mlp_output", at_most=0.0001)

def test_unknown_site(maxact_check):
    maxact_check("layers.2.mlp_outptu", at_most=1)

def test_no_limit(maxact_check):
    maxact_check("layers.2.mlp_output", "rms")
"""


def test_fixtures_read_figures_and_assert_with_the_gates_message(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makepyfile(FIXTURE_TESTS)
    result = run_gate(pytester, f"--maxact-replay={saved}", "-m", "not maxact", passed=2, failed=3)
    result.stdout.fnmatch_lines(
        [
            "layers.2.mlp_output: max_abs * at sample * exceeds the limit 0.0001; bound in the test*",
            "*no site 'layers.2.mlp_outptu' in this Record; did you mean layers.2.mlp_output*",
            "no limit for rms of layers.2.mlp_output in family qwen3; give at_most= or at_least=",
        ]
    )


def test_fixtures_skip_where_no_gate_was_asked_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FIXTURE_TESTS)
    result = run_gate(pytester, "-rs", skipped=5)
    result.stdout.fnmatch_lines(["*needs --maxact-model or --maxact-replay*"])


def test_a_fixture_measures_when_the_gate_itself_is_deselected(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.makepyfile("def test_one(maxact_record): assert len(maxact_record.sites) == 14")
    run_gate(
        pytester,
        f"--maxact-model={checkpoint}",
        f"--maxact-corpus={corpus}",
        "-m",
        "not maxact",
        passed=1,
        deselected=CHECKS,
    )


UNKNOWN_METRICS = """
import pytest

@pytest.mark.parametrize("site", ["layers.0.hidden", "model"])
@pytest.mark.parametrize("metric", ["nosuch", "int99.max_abs.sqnr_db", "W8A8.nosuch"])
def test_unknown(maxact_check, site, metric):
    maxact_check(site, metric, at_most=1)
"""


def test_an_unknown_metric_fails_with_those_that_its_place_has_and_nothing_else(
    pytester: pytest.Pytester, saved: Path
) -> None:
    pytester.makepyfile(UNKNOWN_METRICS)
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "-m",
        "not maxact",
        failed=6,
        report=[
            "no metric called 'nosuch'",
            "  there are max_abs, *",
            "no metric of the whole model called 'nosuch'",
            "  there are <SCHEME>.<quantity> with *mean_kl*",
            "no metric called 'int99.max_abs.sqnr_db': integers have 2 to 16 bits here, not 99",
            "no metric of the whole model called 'int99.max_abs.sqnr_db'",
            "no metric called 'W8A8.nosuch': W8A8 has no 'nosuch'",
            "no metric of the whole model called 'W8A8.nosuch'",
        ],
        lacks=["another exception", "direct cause"],
    )
