"""The hooks of a project: a corpus, limits, and what becomes of the outcome."""

from pathlib import Path

import pytest

from pytest_maxact.corpus import read_jsonl
from pytest_maxact.record.file import load
from pytest_maxact.record.provenance import corpus_digest
from tests.support.gate_runs import CHECKS, run_gate

ENTRIES = """
        import json
        from pathlib import Path

        def pytest_maxact_corpus(config):
            return [json.loads(line) for line in Path({corpus!r}).read_text().splitlines()]
        """


def saved_by(pytester: pytest.Pytester, checkpoint: Path, *args: object, subprocess: bool = False) -> tuple[str, str]:
    """The name and the digest of the corpus that a run measured on."""
    file = f"--maxact-save={pytester.path / 'out.safetensors'}"
    run_gate(pytester, f"--maxact-model={checkpoint}", file, *args, subprocess=subprocess, passed=CHECKS)
    provenance = load(pytester.path / "out.safetensors").provenance
    return provenance.corpus, provenance.corpus_sha256


def digest_of(corpus: Path) -> str:
    return corpus_digest(sample.digest for sample in sorted(read_jsonl(corpus), key=lambda sample: sample.id))


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_corpus_from_a_hook_is_measured_on_and_known_by_its_digest(
    options: tuple[str, ...], pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.makeconftest(ENTRIES.format(corpus=str(corpus)))
    found = saved_by(pytester, checkpoint, *options, subprocess=bool(options))
    assert found == ("hook", digest_of(corpus))


def test_a_path_from_a_hook_starts_from_the_root_directory_and_keeps_its_name(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]")
    pytester.makeconftest("def pytest_maxact_corpus(): return 'own.jsonl'")
    (pytester.path / "own.jsonl").write_bytes(corpus.read_bytes())
    monkeypatch.chdir(pytester.mkdir("below"))
    assert saved_by(pytester, checkpoint, "--rootdir=..") == ("own.jsonl", digest_of(corpus))


def test_an_option_goes_before_a_hook(pytester: pytest.Pytester, checkpoint: Path, corpus: Path, tight: Path) -> None:
    pytester.makeconftest("""
        def pytest_maxact_corpus(): raise RuntimeError("asked")
        def pytest_maxact_limits(): raise RuntimeError("asked")
        """)
    options = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", f"--maxact-limits={tight}")
    run_gate(pytester, *options, failed=1, passed=CHECKS - 1)


def test_limits_from_a_hook_judge(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    pytester.makeconftest(f"def pytest_maxact_limits(config): return {str(tight)!r}")
    run_gate(pytester, f"--maxact-replay={saved}", failed=1, passed=CHECKS - 1, exit=1, says=["tight.yaml"])


def test_limits_from_a_hook_judge_in_every_worker(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    pytester.makeconftest(f"""
        def pytest_maxact_limits(config):
            assert not hasattr(config, "workerinput")
            return {str(tight)!r}
        """)
    run_gate(pytester, f"--maxact-replay={saved}", "-n", "2", subprocess=True, failed=1, passed=CHECKS - 1)


def test_limits_from_a_hook_are_those_that_are_written(
    pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest("def pytest_maxact_limits(config): return config.rootpath / 'mine.yaml'")
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-update=new", passed=CHECKS, exit=0)
    assert (pytester.path / "mine.yaml").exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('no network')", "pytest_maxact_corpus raised RuntimeError: no network"),
        ("import pytest; pytest.skip('later')", "pytest_maxact_corpus raised Skipped: later"),
        ("return 7", "pytest_maxact_corpus gave int 7"),
        ("return False", "pytest_maxact_corpus gave bool False"),
        ("return ['a text']", "pytest_maxact_corpus:1: str where an object was expected"),
        ("return []", "pytest_maxact_corpus: the corpus is empty"),
        ("return [{'text': b'a', 'category': 'x'}]", "pytest_maxact_corpus gave an entry that is no JSON"),
        ("return [{'text': 'a', 'category': 'x'}, {'text': 'b'}]", 'pytest_maxact_corpus:2: no "category"'),
        ("return [{'text': '', 'category': 'x'}]", "pytest_maxact_corpus:1: needs either a non-empty"),
        ("return [{'id': 1, 'text': 'a', 'category': 'x'}] * 2", "pytest_maxact_corpus:2: sample id '1' is that of"),
        ("return 'nowhere.jsonl'", "pytest_maxact_corpus gave 'nowhere.jsonl', and there is no such file"),
        ("return ''", "pytest_maxact_corpus gave '', and there is no such file"),
    ],
)
def test_a_corpus_hook_that_cannot_be_used_is_a_usage_error_that_names_it(
    body: str, words: str, pytester: pytest.Pytester, checkpoint: Path
) -> None:
    pytester.makeconftest(f"def pytest_maxact_corpus(config):\n    {body}")
    run_gate(pytester, f"--maxact-model={checkpoint}", "--co", refuses=words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('limits')", "pytest_maxact_limits raised KeyError: 'limits'"),
        ("return {'hidden': 3}", "pytest_maxact_limits gave dict {'hidden': 3}"),
        ("return 'nowhere.yaml'", "pytest_maxact_limits gave 'nowhere.yaml', and there is no such file"),
        ("return config.rootpath", "and there is no such file"),
    ],
)
def test_a_limits_hook_that_cannot_be_used_is_a_usage_error_that_names_it(
    body: str, words: str, pytester: pytest.Pytester, saved: Path
) -> None:
    pytester.makeconftest(f"def pytest_maxact_limits(config):\n    {body}")
    run_gate(pytester, f"--maxact-replay={saved}", refuses=words)


def test_the_outcome_goes_to_a_hook_after_the_report(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    pytester.makeconftest("""
        def pytest_maxact_outcome(config, outcome):
            breaches = [told.finding.limit.check for told in outcome.verdict.breaches]
            print("told:", outcome.ran, outcome.word, breaches)
        """)
    options = (f"--maxact-replay={saved}", f"--maxact-limits={tight}", "-s")
    told = f"told: {CHECKS} FAIL [[]'layers.1.hidden::max_abs']"
    run_gate(pytester, *options, exit=1, report=["FAIL: 1 of *", told])
    run_gate(pytester, *options, "-n", "1", subprocess=True, exit=1, report=["FAIL: 1 of *", told])
    run_gate(pytester, *options, "--co", lacks=["told:"])
    run_gate(pytester, *options, "-k", "embedding", exit=0, report=["told: 4 PARTIAL [[][]]"])


def test_an_outcome_hook_that_raises_fails_a_run_that_would_have_passed(
    pytester: pytest.Pytester, saved: Path, tight: Path
) -> None:
    pytester.makeconftest("def pytest_maxact_outcome(outcome): raise OSError('no route')")
    words = ["*pytest_maxact_outcome raised OSError: no route*"]
    passing = run_gate(pytester, f"--maxact-replay={saved}", passed=CHECKS, exit=4, complaints=words)
    passing.stdout.fnmatch_lines([f"*all {CHECKS} checks hold"])
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", exit=1, complaints=words)


def test_the_outcome_goes_to_a_hook_without_a_terminal_too(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeconftest("def pytest_maxact_outcome(outcome): open('told', 'w').write(str(outcome.ran))")
    run_gate(pytester, f"--maxact-replay={saved}", "-p", "no:terminal", exit=0)
    assert (pytester.path / "told").read_text() == str(CHECKS)


def test_hooks_are_not_called_where_no_gate_was_asked_for(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        def pytest_maxact_corpus(): raise RuntimeError("asked")
        def pytest_maxact_limits(): raise RuntimeError("asked")
        def pytest_maxact_outcome(): raise RuntimeError("told")
        """)
    pytester.makepyfile("def test_own(): pass")
    run_gate(pytester, passed=1, exit=0)


def test_a_replayed_record_needs_no_corpus(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeconftest("def pytest_maxact_corpus(): raise RuntimeError('asked')")
    run_gate(pytester, f"--maxact-replay={saved}", passed=CHECKS, exit=0)
