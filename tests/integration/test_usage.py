"""Requests that are wrong: exit code 4, and words that say what, where and how to fix it, before any weights are
loaded.
"""

from pathlib import Path

import pytest

from tests.support.gate_runs import run_gate


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("version: 1\nfamilies: {qwen3: [", "limits.yaml:2: malformed YAML"),
        (
            "version: 1\nextends: builtin\nfamilies:\n  qwen3:\n    limts: {}",
            "limits.yaml:5: families.qwen3.limts: unknown key; did you mean 'limits'?",
        ),
        (
            "version: 1\nextends: builtin\nfamilies:\n  qwen3: {limits: {hiden: 3}}",
            "limits.yaml:4: families.qwen3.limits.hiden: no site kind called 'hiden'",
        ),
        (
            "version: 1\nextends: builtin\nfamilies:\n  qwen3: {limits: {hidden: -3}}",
            "limits.yaml:4: families.qwen3.limits.hidden: should be greater than 0",
        ),
        (
            "version: 1\nextends: builtin\nfamilies:\n  qwen3: {limits: {hidden: .nan}}",
            "limits.yaml:4: families.qwen3.limits.hidden: nan is not a limit",
        ),
        (
            "version: 1\nextends: builtin\nfamilies:\n  qwen3: {limits: {router: 3}}",
            "limits.yaml:4: kind 'router' matches no site of this model",
        ),
        (
            "version: 1\nextends: builtin\nfamilies:\n  qwen3:\n    layers:\n      layers.9.*: {hidden: 3}",
            "limits.yaml:6: pattern 'layers.9.*'",
        ),
        (
            "version: 1\nfamilies:\n  other: {model_types: [other], limits: {hidden: 3}}",
            "no limits for model_type 'qwen3'",
        ),
        (
            "version: 1\nprotocol: deployed\nfamilies:\n  q: {model_types: [qwen3], limits: {hidden: 3}}",
            "hold for protocol 'deployed'",
        ),
    ],
)
def test_a_bad_limits_file_is_a_usage_error_that_names_its_line(
    limits: str, message: str, pytester: pytest.Pytester, saved: Path
) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-limits=limits.yaml",
        files={"limits.yaml": limits},
        refuses=message,
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "bad.jsonl: the corpus is empty"),
        ('{"text": "a", "category": "x"}\n{"text": "b", "category": "x"\n', "bad.jsonl:2: not a line of UTF-8 JSON"),
        ('{"text": "a"}\n', 'bad.jsonl:1: no "category"'),
        (
            '{"input_ids": [1, 2], "category": "x"}\n{"input_ids": [1, 2, 3], "category": "x"}\n',
            "--maxact-corpus-tokenizer",
        ),
    ],
)
def test_a_bad_corpus_is_a_usage_error_that_names_its_line(
    lines: str, message: str, pytester: pytest.Pytester, checkpoint: Path
) -> None:
    run_gate(
        pytester,
        f"--maxact-model={checkpoint}",
        "--maxact-corpus=bad.jsonl",
        files={"bad.jsonl": lines},
        refuses=message,
    )


def test_a_record_of_another_protocol_is_a_usage_error(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-protocol=deployed",
        refuses="was measured under protocol 'paper', not 'deployed'",
    )


def test_a_damaged_record_is_a_usage_error(pytester: pytest.Pytester, saved: Path) -> None:
    (pytester.path / "half").write_bytes(saved.read_bytes()[:5000])
    run_gate(pytester, "--maxact-replay=half", refuses="half: not a Record, or a truncated one")


def test_options_without_a_gate_are_a_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    run_gate(
        pytester,
        "--maxact-family=generic",
        refuses="--maxact-family does nothing without --maxact-model or --maxact-replay",
    )


def test_options_of_a_measurement_beside_a_replay_are_a_usage_error(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-dtype=fp32",
        refuses="--maxact-dtype shapes a measurement, and --maxact-replay makes none",
    )


def test_a_path_after_a_space_that_would_lead_pytest_to_another_configuration_is_a_usage_error(
    pytester: pytest.Pytester, saved: Path
) -> None:
    run_gate(pytester, "--maxact-replay", saved, refuses=f"write --maxact-replay={saved}")
    (pytester.path / "here").write_bytes(saved.read_bytes())
    assert run_gate(pytester, "--maxact-replay", "here").ret == 0


@pytest.mark.parametrize(
    ("options", "ini", "words"),
    [
        (["--maxact-model=a", "--maxact-model", "b"], "", "--maxact-model: is given twice, as a and as b"),
        (["--maxact-replay=a", "--maxact-replay=b"], "", "--maxact-replay: is given twice, as a and as b"),
        (["--maxact-limits=a", "--maxact-limits=b"], "", "--maxact-limits: is given twice, as a and as b"),
        (["--maxact-seed=1", "--maxact-seed", "2"], "", "--maxact-seed: is given twice, as 1 and as 2"),
        (["--maxact-model=a"], "addopts = --maxact-model=b", "--maxact-model: is given twice, as b and as a"),
        (
            ["-o", "maxact_model=a", "--override-ini=maxact_model=b"],
            "",
            "-o maxact_model is given twice, as a and as b",
        ),
    ],
)
def test_an_option_given_twice_with_two_values_is_refused_naming_both(
    options: list[str], ini: str, words: str, pytester: pytest.Pytester
) -> None:
    run_gate(pytester, *options, files={"pytest.ini": f"[pytest]\n{ini}"}, refuses=words)


def test_an_option_given_twice_with_one_value_is_given_once(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(pytester, *2 * [f"--maxact-replay={saved}"], *2 * ["--maxact-family=generic"], exit=0)
