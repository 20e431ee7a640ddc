"""The gate inside pytest: what is collected, how it is chosen, what it exits with, and what a project that never asked
for it notices.
"""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_maxact.record.file import load
from tests.support import tiny
from tests.support.gate_runs import CHECKS, drop_tensor, run_gate
from tests.support.measuring import record_of


def test_an_empty_directory_collects_and_runs_the_gate(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    result = run_gate(pytester, f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", passed=CHECKS)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*maxact: *qwen3 (qwen3, 3 layers x 64), family qwen3, protocol paper*", f"PASS: all {CHECKS} checks hold"]
    )


def test_it_adds_to_a_users_own_tests_and_their_autouse_fixtures_do_not_touch_it(
    pytester: pytest.Pytester, saved: Path
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.fixture(autouse=True)
        def database(request):
            assert request.node.name == "test_mine"

        def test_mine():
            pass
        """)
    run_gate(pytester, f"--maxact-replay={saved}", passed=CHECKS + 1)
    run_gate(pytester, f"--maxact-replay={saved}", "-m", "maxact", passed=CHECKS, deselected=1)
    run_gate(pytester, f"--maxact-replay={saved}", "-m", "not maxact", passed=1, deselected=CHECKS)


def test_collect_only_lists_every_check_and_loads_no_weights(
    pytester: pytest.Pytester, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_maxact.measure.run.load", lambda *args: pytest.fail("weights were loaded"))
    result = run_gate(pytester, f"--maxact-model={checkpoint}", "--co", "-q")
    listed = [line for line in result.outlines if line.startswith("maxact::")]
    assert len(listed) == CHECKS
    assert {
        "maxact::embedding::max_abs",
        "maxact::layers.2.attn_output::nonfinite",
        "maxact::carrier::int8.max_abs.sqnr_db",
    } <= set(listed)


def test_k_selects_by_site_and_metric(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", "-k", "layers.1.hidden and max_abs", passed=1, deselected=CHECKS - 1)


def test_a_failing_id_can_be_pasted_alone_or_beside_a_path(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    pytester.makepyfile(test_own="def test_own(): pass")
    common = (f"--maxact-replay={saved}", f"--maxact-limits={tight}")
    result = run_gate(pytester, *common, failed=1, passed=CHECKS)
    (line,) = [line for line in result.outlines if line.startswith("FAILED")]
    name = line.split()[1]
    assert name == "maxact::layers.1.hidden::max_abs"
    run_gate(pytester, *common, name, failed=1, deselected=CHECKS - 1)
    run_gate(pytester, *common, "maxact::layers.1.hidden", failed=1, passed=1, deselected=CHECKS - 2)
    run_gate(pytester, *common, name, "test_own.py", failed=1, passed=1, deselected=CHECKS - 1)
    run_gate(pytester, *common, f"../{name}", failed=1, deselected=CHECKS - 1)


def test_a_pasted_id_that_does_not_exist_is_a_usage_error(pytester: pytest.Pytester, saved: Path) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", "maxact::layers.9.hidden::max_abs")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*no check called maxact::layers.9.hidden::max_abs; list them with --co*"])


def test_last_failed_reruns_the_breach_only(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    common = (f"--maxact-replay={saved}", f"--maxact-limits={tight}")
    run_gate(pytester, *common, failed=1, passed=CHECKS - 1)
    run_gate(pytester, *common, "--lf", failed=1, deselected=CHECKS - 1)


def test_exit_first_stops_at_the_breach(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", "-x")
    assert result.ret == 2 or result.ret == 1
    assert result.parseoutcomes()["failed"] == 1
    assert result.parseoutcomes()["passed"] < CHECKS - 1


def test_a_breach_says_value_place_limit_and_source(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}")
    assert result.ret == 1
    result.stdout.re_match_lines(
        [
            r"FAIL: 1 of \d+ checks do not hold",
            r"- layers\.1\.hidden: max_abs [\d.]+ at sample s\d\d, token \d+ 'w\d+', channel \d+",
            r".*exceeds the limit 0\.00125 \(0\.001 x 1\.25\).*",
        ]
    )


def test_junit_points_at_the_limits_line_and_carries_the_values(
    pytester: pytest.Pytester, saved: Path, tight: Path
) -> None:
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={tight}",
        "--junitxml=out.xml",
        "-o",
        "junit_family=xunit1",
    )
    cases = ET.parse(pytester.path / "out.xml").getroot().iter("testcase")
    (failed,) = [case for case in cases if case.find("failure") is not None]
    assert failed.get("line") == "5"
    assert Path(str(failed.get("file"))).name == "tight.yaml"
    properties = {p.get("name"): p.get("value") for p in failed.iter("property")}
    assert properties["maxact.site"] == "layers.1.hidden"
    assert float(str(properties["maxact.value"])) > float(str(properties["maxact.limit"])) == 0.00125


def test_xdist_workers_share_one_measurement(pytester: pytest.Pytester, checkpoint: Path, corpus: Path) -> None:
    pytester.makeconftest("""
        from pathlib import Path
        import pytest_maxact.gate.records as records

        original = records.measure_source

        def counted(*args):
            with open(Path(__file__).parent / "loads.txt", "a") as file:
                file.write("load\\n")
            return original(*args)

        records.measure_source = counted
        """)
    result = pytester.runpytest_subprocess(
        f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "-n", "2", "-p", "xdist"
    )
    result.assert_outcomes(passed=CHECKS)
    assert (pytester.path / "loads.txt").read_text() == "load\n"
    result.stdout.fnmatch_lines([f"PASS: all {CHECKS} checks hold"])


def test_xdist_honours_a_pasted_id(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makepyfile(test_own="def test_own(): pass")
    result = pytester.runpytest_subprocess(f"--maxact-replay={saved}", "-n", "2", "maxact::layers.1.hidden")
    result.assert_outcomes(passed=2)


def test_a_failed_measurement_under_xdist_is_an_error_on_every_check_and_tried_once(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    folder = tiny.save(tmp_path / "partial", tiny.random_model("qwen3"))
    drop_tensor(folder, "layers.1.mlp.up_proj.weight")
    result = pytester.runpytest_subprocess(f"--maxact-model={folder}", f"--maxact-corpus={corpus}", "-n", "2")
    result.assert_outcomes(errors=CHECKS)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAIL: could not measure: the weights*"])


def test_what_cannot_be_measured_is_an_error_on_every_check(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    folder = tiny.save(tmp_path / "partial", tiny.random_model("qwen3"))
    drop_tensor(folder, "layers.1.mlp.up_proj.weight")
    result = run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}", errors=CHECKS)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*could not measure: the weights of * lack 1 tensors*the first layers.1.mlp.up_proj.weight*"]
    )
    result.stdout.fnmatch_lines(["FAIL: could not measure: the weights*", "*export the checkpoint"])
    told = result.stdout.str()
    assert told.partition("short test summary")[0].count("do not belong together") == 2, (
        "in full at the first check and in the report"
    )
    assert "During handling" not in told


@pytest.mark.parametrize("error", ['RuntimeError("CUDA out of memory")', 'pytest.fail.Exception("Timeout >300.0s")'])
@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_measurement_that_ends_in_any_other_error_is_not_tried_again(
    error: str, options: tuple[str, ...], pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.makeconftest(f"""
        import pytest
        from pathlib import Path
        from pytest_maxact.measure import run as measure

        def load(checkpoint, settings):
            with open(Path(__file__).parent / "loads.txt", "a") as file:
                file.write("load ")
            raise {error}

        measure.load = load
        """)
    result = pytester.runpytest_subprocess(f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", *options)
    result.assert_outcomes(errors=CHECKS)
    assert (pytester.path / "loads.txt").read_text() == "load "
    name = error.split("(")[0].replace("pytest.fail.Exception", "Failed")
    result.stdout.fnmatch_lines([f"FAIL: could not measure: the measurement ended in {name}: *"])
    assert "PASS" not in result.stdout.str()


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_check_that_something_else_broke_off_has_not_passed(
    options: tuple[str, ...], pytester: pytest.Pytester, saved: Path
) -> None:
    pytester.makeconftest("""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_call(item):
            if item.nodeid == "maxact::layers.1.hidden::max_abs":
                raise RuntimeError("of the user's own")
        """)
    result = pytester.runpytest_subprocess(f"--maxact-replay={saved}", *options)
    result.assert_outcomes(failed=1, passed=CHECKS - 1)
    assert result.ret == 1
    assert "PASS" not in result.stdout.str()
    text = " ".join(result.stdout.str().split())
    assert (
        "FAIL: 1 checks were broken off by an error outside of the gate, the first maxact::layers.1.hidden::max_abs"
        in text
    )


def test_a_run_that_was_interrupted_has_not_passed(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeconftest("""
        def pytest_runtest_call(item):
            if item.nodeid == "maxact::layers.1.hidden::max_abs":
                raise KeyboardInterrupt
        """)
    result = pytester.runpytest_subprocess(f"--maxact-replay={saved}")
    assert result.ret == 2
    assert "PASS" not in result.stdout.str()
    result.stdout.fnmatch_lines(["FAIL: the run was broken off before its end"])


def test_the_report_measures_nothing_that_a_worker_died_of(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.makeconftest("""
        import os
        from pathlib import Path
        from pytest_maxact.measure import run as measure

        def load(checkpoint, settings):
            with open(Path(__file__).parent / "loads.txt", "a") as file:
                file.write(os.environ.get("PYTEST_XDIST_WORKER", "controller") + " ")
            os._exit(9)

        measure.load = load
        """)
    options = ("-n", "1", "--max-worker-restart=0", "maxact::layers.0.hidden::max_abs")
    result = pytester.runpytest_subprocess(f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", *options)
    assert result.ret != 0
    assert "controller" not in (pytester.path / "loads.txt").read_text()
    assert "PASS" not in result.stdout.str()
    assert "FAIL: 1 checks were broken off by an error outside of the gate" in " ".join(result.stdout.str().split())


def test_a_record_that_was_not_written_is_not_said_to_be(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    folder = tiny.save(tmp_path / "partial", tiny.random_model("qwen3"))
    drop_tensor(folder, "layers.1.mlp.up_proj.weight")
    result = run_gate(
        pytester,
        f"--maxact-model={folder}",
        f"--maxact-corpus={corpus}",
        "--maxact-save=never.safetensors",
        errors=CHECKS,
    )
    assert "written to" not in result.stdout.str()
    assert not (pytester.path / "never.safetensors").exists()


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_poisoned_layer_fails_the_gate_and_is_named_first(
    poison: float, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    import torch

    model = tiny.planted_model("qwen3", layer=1, value=64.0)
    with torch.no_grad():
        model.layers[1].mlp.down_proj.weight[tiny.PEAK_CHANNEL, 0] = poison  # type: ignore[union-attr,operator,index]
    folder = tiny.save(tmp_path / "model", model)
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences([5, 9, 4, 7], peak=(1, 3)))
    result = run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["the first site with non-finite values is layers.1.mlp_output"])
    failed = {line.split()[1] for line in result.outlines if line.startswith("FAILED")}
    assert {
        "maxact::layers.1.hidden::nonfinite",
        "maxact::layers.1.mlp_output::nonfinite",
        "maxact::layers.1.hidden::max_abs",
    } <= failed
    assert {name for name in failed if "layers.0" in name} <= {
        f"maxact::layers.0.{block}::max_abs" for block in ("attn_output", "mlp_output")
    }, "the model was planted in zeros, and blocks that give nothing else fail"


def test_a_run_saves_its_record_and_says_where(pytester: pytest.Pytester, checkpoint: Path, corpus: Path) -> None:
    result = run_gate(
        pytester,
        f"--maxact-model={checkpoint}",
        f"--maxact-corpus={corpus}",
        "--maxact-save=out.safetensors",
        passed=CHECKS,
    )
    result.stdout.fnmatch_lines(["Record written to out.safetensors"])
    assert load(pytester.path / "out.safetensors").provenance.family == "qwen3"


def test_ini_options_stand_in_for_the_command_line(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeini(f"[pytest]\nmaxact_replay = {saved}\nmaxact_family = generic\n")
    result = run_gate(pytester)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["limits   generic: nothing non-finite*"])


def test_replay_judges_without_torch(saved: Path, tmp_path: Path) -> None:
    code = dedent("""
        import sys, pytest
        status = pytest.main(["-q", "-p", "no:cacheprovider", "--maxact-replay=" + sys.argv[1]])
        heavy = {"torch", "transformers"} & set(sys.modules)
        sys.exit(f"imported {heavy}" if heavy else int(status))
        """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_tests_of_the_gate_run_no_report(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makepyfile("def test_own(): pass")
    result = run_gate(pytester, f"--maxact-replay={saved}", "-m", "not maxact", passed=1)
    assert "PASS: all" not in result.stdout.str()


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


def test_unused_the_plugin_imports_nothing_heavy_and_prints_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_own():
            heavy = {"torch", "transformers", "yaml", "rich", "pydantic", "safetensors", "numpy", "filelock"}
            assert not heavy & set(sys.modules)
            assert "pytest_maxact.plugin" in sys.modules
        """)
    plain = ("-p", "no:hypothesispytest", "-p", "no:xdist", "-p", "no:anyio")
    result = pytester.runpytest_subprocess(*plain)
    result.assert_outcomes(passed=1)
    lines = [line for line in result.outlines if not line.startswith("plugins:")]
    assert not any("maxact" in line for line in lines)


def test_the_report_of_a_part_says_so(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    result = run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={tight}",
        "-k",
        "embedding",
        passed=2,
        deselected=CHECKS - 2,
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["PASS: all 2 checks that ran hold*", f"not run: {CHECKS - 2} checks, of which 1 would fail"]
    )


def test_deployed_limits_judge_a_deployed_measurement(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    (pytester.path / "limits.yaml").write_text(
        "version: 1\nprotocol: deployed\nfamilies:\n  q: {model_types: [qwen3], limits: {hidden: 300}}"
    )
    options = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--maxact-limits=limits.yaml")
    assert run_gate(pytester, *options, "--maxact-protocol=deployed").ret == 0


def test_ids_of_another_tokenizer_are_decoded_and_encoded_anew(
    pytester: pytest.Pytester, checkpoint: Path, tmp_path: Path
) -> None:
    """The same words under a vocabulary in reverse: the ids differ, the text and so the figures do not."""
    texts = tiny.sentences([5, 9, 4, 7])
    other = tiny.word_tokenizer(reverse=True)
    other.save_pretrained(tmp_path / "other")
    lines = [
        json.dumps({"id": name, "input_ids": other(text)["input_ids"], "category": "ab"[i % 2]})
        for i, (name, text) in enumerate(texts)
    ]
    (tmp_path / "ids.jsonl").write_text("\n".join(lines))
    plain = record_of(checkpoint, tiny.write_corpus(tmp_path / "text.jsonl", texts))
    decoded = record_of(checkpoint, tmp_path / "ids.jsonl", corpus_tokenizer=str(tmp_path / "other"))
    assert {n: r.max_abs for n, r in decoded.sites.items()} == {n: r.max_abs for n, r in plain.sites.items()}
    assert decoded.tokens == plain.tokens


def test_the_deployed_protocol_adds_special_tokens_or_the_chat_template(tmp_path: Path, corpus: Path) -> None:
    model = tiny.random_model("qwen3")
    bos = tiny.save(tmp_path / "bos", model, tiny.word_tokenizer(bos=True))
    chat = tiny.word_tokenizer()
    chat.chat_template = "{{ '<s> ' + messages[0].content + ' </s>' }}"
    templated = tiny.save(tmp_path / "chat", model, chat)
    bare = record_of(bos, corpus).tokens
    assert record_of(bos, corpus, protocol="deployed").tokens == bare + 12
    assert record_of(templated, corpus, protocol="deployed").tokens == bare + 24


def test_a_conftest_that_skips_what_it_does_not_know_does_not_skip_the_gate(
    pytester: pytest.Pytester, saved: Path, tight: Path
) -> None:
    pytester.makeconftest("""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.skip(reason="not one of ours"))
        """)
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", failed=1, passed=CHECKS - 1)


def test_a_gate_of_which_nothing_ran_says_so(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makepyfile("def test_own(): pass")
    result = run_gate(pytester, f"--maxact-replay={saved}", "-k", "test_own", passed=1, deselected=CHECKS)
    result.stdout.fnmatch_lines([f"maxact: none of the {CHECKS} checks of * was run"])


def test_a_pasted_id_that_does_not_exist_is_a_usage_error_under_xdist_too(
    pytester: pytest.Pytester, saved: Path
) -> None:
    result = pytester.runpytest_subprocess(f"--maxact-replay={saved}", "-n", "2", "maxact::typo")
    assert result.ret == 4
    assert "no check called maxact::typo" in result.stderr.str()


def test_a_site_of_zeros_fails_the_gate(pytester: pytest.Pytester, tmp_path: Path, corpus: Path) -> None:
    import torch

    model = tiny.random_model("qwen3")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    folder = tiny.save(tmp_path / "zeros", model)
    result = run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}")
    assert result.ret == 1
    assert "layers.0.hidden: every entry is zero" in result.stdout.str()


def test_paths_in_an_ini_file_start_from_its_folder(
    pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.path / "r.safetensors").write_bytes(saved.read_bytes())
    (pytester.path / "own.yaml").write_text("version: 1\nextends: builtin\n")
    pytester.makeini("[pytest]\nmaxact_replay = r.safetensors\nmaxact_limits = own.yaml\nmaxact_save = unused\n")
    below = pytester.mkdir("below")
    monkeypatch.chdir(below)
    run_gate(pytester, passed=CHECKS)


def test_unused_the_plugin_costs_little_of_pytests_start() -> None:
    """At most 15 ms where importing pytest takes 115, and as much less on a faster machine; in processor time, the
    least of several runs, as other processes only ever add. Whole processes: benchmarks/startup.py.
    """
    code = (
        "import time; start = time.process_time(); import pytest; middle = time.process_time(); import"
        " pytest_maxact.plugin; print((time.process_time() - middle) / (middle - start))"
    )
    shares = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(9)
    ]
    assert min(shares) < 0.13
