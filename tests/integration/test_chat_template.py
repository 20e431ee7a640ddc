"""`--maxact-protocol=deployed` with a chat template: what is refused at which door, and what decides comparability."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load, save
from tests.support import tiny
from tests.support.gate_runs import run_gate
from tests.support.measuring import record_of
from tests.support.training import refused, trainer_of

LIMITS = "version: 1\nprotocol: deployed\nfamilies: {q: {model_types: [qwen3], limits: {hidden: 1000000}}}\n"
PARTS = "{% for part in messages[0].content | selectattr('type', 'equalto', 'text') %}{{ part.text }}{% endfor %}"
REFUSED = {
    "{{ raise_exception('Only the system may speak.') }}": "Only the system may speak.",
    "{% for x in %}": "TemplateSyntaxError",
    "USER: {{ messages[0].text }} ASSISTANT:": "the template loses the text of sample s00",
}


def templated(checkpoint: Path, folder: Path, template: str) -> Path:
    shutil.copytree(checkpoint, folder)
    (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.mark.parametrize("template", REFUSED)
def test_a_template_that_cannot_be_used_is_a_usage_error_at_every_door(
    template: str, pytester: pytest.Pytester, checkpoint: Path, corpus: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = templated(checkpoint, tmp_path / "model", template)
    asked = (f"--maxact-model={folder}", f"--maxact-corpus={corpus}", "--maxact-limits=limits.yaml")
    run_gate(
        pytester, *asked, "--maxact-protocol=deployed", files={"limits.yaml": LIMITS},
        refuses=f"ERROR: {folder / 'chat_template.jinja'}",
    )  # fmt: skip
    command = ["measure", str(folder), "-o", str(tmp_path / "r"), "--corpus", str(corpus), "--protocol", "deployed"]
    capsys.readouterr()
    assert main(command) == 4
    said = capsys.readouterr().err
    assert REFUSED[template] in said
    assert "or measure with --protocol paper" in said
    assert "Traceback" not in said
    tokenizer = tiny.word_tokenizer()
    tokenizer.chat_template = template
    refused(
        tmp_path, REFUSED[template], trainer_of(tmp_path / "run", tokenizer=tokenizer), corpus=corpus,
        protocol="deployed", limits=pytester.path / "limits.yaml",
    )  # fmt: skip


def test_under_the_paper_protocol_no_template_is_read(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    folder = templated(checkpoint, tmp_path / "model", "{{ raise_exception('no') }}")
    record = record_of(folder, corpus)
    assert record.provenance.template_date is None
    assert record.sites == record_of(checkpoint, corpus).sites


def test_the_text_of_a_template_that_reads_parts_is_measured(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    folder = templated(checkpoint, tmp_path / "model", "w1 {{ strftime_now('%Y') }} " + PARTS)
    record, bare = (record_of(folder, corpus, protocol=protocol) for protocol in ("deployed", "paper"))
    assert record.tokens == bare.tokens + 2 * len(bare.provenance.samples)
    assert record.provenance.template_date == "2024-07-26"
    save(record, tmp_path / "kept")
    assert load(tmp_path / "kept") == record


def test_a_baseline_of_other_token_ids_is_refused_and_one_that_noted_none_is_not(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, saved: Path
) -> None:
    record = load(saved)
    for name, digest in (("other", "a" * 64), ("earlier", None)):
        save(replace(record, provenance=replace(record.provenance, tokens_sha256=digest)), pytester.path / name)
    asked = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--maxact-family=generic")
    run_gate(
        pytester, *asked, "--maxact-baseline=other",
        refuses=f"they differ in tokens_sha256 ({'a' * 12} there, {record.provenance.tokens_sha256[:12]} here)",
    )  # fmt: skip
    run_gate(pytester, *asked, "--maxact-baseline=earlier", exit=0)
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-family=generic", "--maxact-baseline=other", exit=4)
