"""The gate inside pytest: what is collected, how it is chosen, what it exits with, and what a project that never asked
for it notices.
"""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_maxact.record.file import load
from tests.support import tiny
from tests.support.gate_runs import CHECKS, run_gate
from tests.support.measuring import record_of


def test_an_empty_directory_collects_and_runs_the_gate(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    result = run_gate(pytester, f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", passed=CHECKS)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*maxact: *qwen3 (qwen3, 3 layers x 64), family qwen3, protocol paper*", f"*all {CHECKS} checks hold"]
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


def test_a_breach_says_value_place_limit_and_source(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}")
    assert result.ret == 1
    result.stdout.re_match_lines(
        [
            r"FAIL: 1 of \d+ checks does not hold",
            r"- layers\.1\.hidden: max_abs [\d.]+ at sample s\d\d, token \d+ 'w\d+', channel \d+",
            r".*exceeds the limit 1;.*",
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
    assert float(str(properties["maxact.value"])) > float(str(properties["maxact.limit"])) == 1


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
    result.stdout.fnmatch_lines([f"*all {CHECKS} checks hold"])


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
    before = {name for name in failed if "layers.0" in name}
    assert not any("nonfinite" in name for name in before)
    assert {name for name in before if name.endswith("::max_abs")} == {
        f"maxact::layers.0.{block}::max_abs" for block in ("attn_output", "mlp_output")
    }, "the model was planted in zeros, and blocks that give nothing else fail"
    assert "maxact::weights.layers.1.mlp.down_proj.weight::nonfinite" in failed


@pytest.mark.parametrize("options", [(), ("-q",)])
def test_a_run_saves_its_record_and_says_where_last(
    options: tuple[str, ...], pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    result = run_gate(
        pytester,
        f"--maxact-model={checkpoint}",
        f"--maxact-corpus={corpus}",
        "--maxact-save=out.safetensors",
        *options,
        passed=CHECKS,
    )
    assert result.outlines[-1] == "maxact: Record written to out.safetensors"
    assert load(pytester.path / "out.safetensors").provenance.family == "qwen3"


def test_ini_options_stand_in_for_the_command_line(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeini(f"[pytest]\nmaxact_replay = {saved}\nmaxact_family = generic\n")
    result = run_gate(pytester)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["limits *generic: nothing non-finite*"])


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


@pytest.mark.usefixtures("cold")
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


def test_unused_the_plugin_costs_little_of_pytests_start(tmp_path: Path) -> None:
    """At most 9 ms where importing pytest takes 115, and as much less on a faster machine; in processor time, the least
    of several runs, as other processes only ever add. Of compiled modules, as an installed package has them. Whole
    processes: benchmarks/startup.py.
    """
    code = (
        "import time; start = time.process_time(); import pytest; middle = time.process_time(); import"
        " pytest_maxact.plugin; print((time.process_time() - middle) / (middle - start))"
    )
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}

    def share() -> float:
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        return float(ran.stdout)

    share()
    assert min(share() for _ in range(9)) < 0.08
