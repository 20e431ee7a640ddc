"""What a release carries of a gate: a model card, and a fragment of a bill of materials."""

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import EvalResult, ModelCard

from pytest_maxact.checkpoint.artifact import artifact_digests
from pytest_maxact.cli.main import main
from pytest_maxact.judge.portray import portray
from pytest_maxact.numbers.exceedance import LEVEL
from pytest_maxact.record.file import load
from pytest_maxact.record.record import Record
from tests.support import tiny
from tests.support.gate_runs import drop_tensor, run_gate
from tests.support.headed import headed

BEFORE = "---\r\nlicense: mit # why\r\n---\r\n# Tiny\r\n\r\nno last line break"


def results_of(card: Path) -> dict[str, EvalResult]:
    found = ModelCard(card.read_bytes().decode()).data.get("eval_results") or []
    return {one.metric_type: one for one in found if one.source_name == "pytest-maxact"}


def metrics_of(bom: Path) -> dict[str, Any]:
    """Those of the fragment in a file, for which the schema of CycloneDX holds."""
    text = bom.read_text()
    schema = JsonStrictValidator(SchemaVersion.V1_6)
    assert schema.validate_str(text) is None
    assert schema.validate_str(text.replace('"lowerBound"', '"lower"').replace('"value"', '"values"')) is not None
    (component,) = json.loads(text)["components"]
    metrics = component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    return {one["type"]: one for one in metrics}


@pytest.fixture(scope="module")
def record(saved: Path) -> Record:
    return load(saved)


def test_both_say_what_the_record_holds(pytester: pytest.Pytester, saved: Path, record: Record) -> None:
    card, bom = pytester.path / "README.md", pytester.path / "bom.json"
    card.write_bytes(BEFORE.encode())
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-card=README.md", "--maxact-bom=bom.json", exit=0)
    portrait, known = portray(record), results_of(card)
    m = known["max_activation"]
    assert known["maxact_verdict"].metric_value == metrics_of(bom)["maxact_verdict"]["value"] == "PASS"
    assert m.metric_value == float(metrics_of(bom)["max_activation"]["value"]) == portrait.m.value
    assert m.metric_args["site"] == metrics_of(bom)["max_activation"]["slice"] == portrait.m.site.name
    provenance = record.provenance
    for name in ("tokens", "corpus_sha256", "protocol", "dtype", "arithmetic", "weights_sha256"):
        assert m.metric_args[name] == getattr(provenance, name)
    assert {f"version_{name}" for name in provenance.versions} <= m.metric_args.keys()
    assert portrait.trust
    beyond = portrait.trust.beyond
    unseen = {
        "next_sample_above_at_most": beyond.rate,
        "next_sample_above_confidence": LEVEL,
        "another_corpus_reaches": beyond.again,
        "another_corpus_reaches_in": beyond.reached,
    }
    assert LEVEL < beyond.reached < 1
    assert unseen.items() <= m.metric_args.items()
    assert not {name for name in m.metric_args if name.startswith(("interval", "between")) or name == "confidence"}
    assert "confidenceInterval" not in metrics_of(bom)["max_activation"]
    (component,) = json.loads(bom.read_text())["components"]
    properties = {one["name"]: one["value"] for one in component["properties"]}
    assert {f"maxact:{name}": str(value) for name, value in unseen.items()}.items() <= properties.items()
    assert known["int8_sqnr"].metric_value == portrait.int8.max_abs.sqnr_db
    text = card.read_bytes().decode()
    assert text.startswith("---\r\nlicense: mit # why\r\nmodel-index:\r\n")
    assert "---\r\n# Tiny\r\n\r\nno last line break\r\n\r\n<!-- maxact:begin -->\r\n" in text
    assert f"**{portrait.m.value:.6g}** at `{portrait.m.site.name}`" in text
    assert str(Path(provenance.model).parent) not in text + bom.read_text()


def test_int8_has_the_interval_of_its_check(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.path.joinpath("limits.yaml").write_text(
        "version: 1\nextends: builtin\nfamilies:\n  qwen3:\n"
        "    int8: {site: carrier, policy: max_abs, min_sqnr_db: 1}\n"
    )
    reports = ("--maxact-card=README.md", "--maxact-json-report=report.json")
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-limits=limits.yaml", *reports, exit=0)
    (checkpoint,) = json.loads((pytester.path / "report.json").read_text())["checkpoints"]
    (told,) = (one for one in checkpoint["checks"] if one["metric"] == "int8.max_abs.sqnr_db")
    args, interval = results_of(pytester.path / "README.md")["int8_sqnr"].metric_args, told["interval"]
    name = "interval" if interval["kind"] == "average" else "between"
    assert [args[f"{name}_low"], args[f"{name}_high"]] == [interval["low"], interval["high"]]


def test_the_same_run_writes_the_same(pytester: pytest.Pytester, saved: Path) -> None:
    asked = ("card", str(saved), "-o", "README.md", "--bom", "bom.json")
    assert main(asked) == 0
    once = {path: path.read_bytes() for path in pytester.path.glob("*.*")}
    assert main(asked) == 0
    assert {path: path.read_bytes() for path in once} == once
    assert len(once) == 2


def test_a_fail_is_written_as_a_fail(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    card, bom = pytester.path / "README.md", pytester.path / "bom.json"
    asked = ("card", str(saved), "-o", str(card), "--bom", str(bom))
    assert main(asked) == 0
    assert main((*asked, "--limits", str(tight))) == 1
    assert results_of(card)["maxact_verdict"].metric_value == "FAIL"
    assert metrics_of(bom)["maxact_verdict"]["value"] == "FAIL"
    assert "FAIL: 1 of " in card.read_text()
    assert "| `layers.1.hidden::max_abs` |" in card.read_text()
    assert "PASS" not in card.read_text() + bom.read_text()


def test_a_run_that_could_not_measure_leaves_no_pass_of_an_earlier_one(
    pytester: pytest.Pytester, tmp_path: Path, corpus: Path, saved: Path
) -> None:
    card, bom = pytester.path / "README.md", pytester.path / "bom.json"
    assert main(("card", str(saved), "-o", str(card), "--bom", str(bom))) == 0
    folder = tiny.save(tmp_path / "model", tiny.planted_model("qwen3", layer=1, value=64.0))
    drop_tensor(folder, "layers.1.mlp.down_proj.weight")
    options = (f"--maxact-card={card}", f"--maxact-bom={bom}")
    run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}", *options, exit=1)
    assert results_of(card).keys() == metrics_of(bom).keys() == {"maxact_verdict"}
    assert results_of(card)["maxact_verdict"].metric_value == "FAIL"
    assert "PASS" not in card.read_text() + bom.read_text()
    assert main(("card", str(saved), "-o", str(card))) == 0


@pytest.mark.parametrize("wrong", ["--maxact-family=nobody", "maxact::nobody", "nowhere.py", "--maxact-limits=no.yaml"])
def test_a_request_that_is_refused_leaves_the_card(wrong: str, pytester: pytest.Pytester, saved: Path) -> None:
    card = pytester.path / "README.md"
    assert main(("card", str(saved), "-o", str(card))) == 0
    before = card.read_bytes()
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-card={card}", wrong, exit=4)
    assert card.read_bytes() == before


def test_a_run_that_is_broken_off_leaves_no_pass(pytester: pytest.Pytester, saved: Path) -> None:
    card = pytester.path / "README.md"
    assert main(("card", str(saved), "-o", str(card))) == 0
    end = "import os\ndef pytest_runtest_setup(item):\n    os._exit(3)\n"
    files = {"conftest.py": end}
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-card={card}", files=files, subprocess=True, exit=3)
    assert "**no verdict: the run did not finish**" in card.read_text()
    assert results_of(card)["maxact_verdict"].metric_value == "NONE"
    assert "PASS" not in card.read_text()


def test_what_was_left_out_makes_a_pass_a_part_of_one(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    card, bom = pytester.path / "README.md", pytester.path / "bom.json"
    asked = (f"--maxact-replay={saved}", f"--maxact-card={card}", f"--maxact-bom={bom}", "-k", "embedding")
    run_gate(pytester, *asked, f"--maxact-limits={tight}", exit=0)
    verdict = results_of(card)["maxact_verdict"]
    assert verdict.metric_value == metrics_of(bom)["maxact_verdict"]["value"] == "PARTIAL"
    assert verdict.metric_args["checks"] > 0
    assert verdict.metric_args["not_run"] > verdict.metric_args["would_fail"] == 1
    (component,) = json.loads(bom.read_text())["components"]
    told = {one["name"]: one["value"] for one in component["properties"]}
    assert {name: told[f"maxact:{name}"] for name in verdict.metric_args} == {
        name: str(value) for name, value in verdict.metric_args.items()
    }


def test_a_card_beside_the_weights_is_no_part_of_them(pytester: pytest.Pytester, tmp_path: Path, corpus: Path) -> None:
    folder = tiny.save(tmp_path / "model", tiny.random_model("qwen3"))
    before = artifact_digests(folder)
    asked = (f"--maxact-model={folder}", f"--maxact-corpus={corpus}", f"--maxact-card={folder / 'README.md'}")
    run_gate(pytester, *asked, "--maxact-verdict=verdict.json", exit=0)
    assert artifact_digests(folder) == before
    assert results_of(folder / "README.md")["maxact_verdict"].metric_value == "PASS"
    assert main(("verify", "verdict.json", str(folder))) == 0
    run_gate(pytester, *asked, f"--maxact-bom={folder / 'bom.json'}", refuses="is a checkpoint")
    run_gate(pytester, f"--maxact-model={folder}", f"--maxact-card={folder / 'config.json'}", refuses="is a checkpoint")
    assert artifact_digests(folder) == before


@pytest.mark.parametrize(
    ("option", "content", "why"),
    [
        ("card", "---\na: [\n---\n", "the card is left as it is: its front matter is no YAML"),
        ("card", "<!-- maxact:end -->\n", "the marks of its block are not one pair"),
        ("bom", '{"bomFormat": "CycloneDX", "components": []}', "a file of another kind"),
        ("bom", "text", "a file of another kind"),
    ],
)
def test_what_is_not_ours_or_broken_is_refused_before_anything_is_measured(
    option: str, content: str, why: str, pytester: pytest.Pytester, saved: Path
) -> None:
    place = pytester.path / "README.md"
    place.write_text(content)
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-{option}={place}", refuses=why)
    assert place.read_text() == content


def test_low_bits_stand_in_both_with_their_intervals(pytester: pytest.Pytester, tmp_path: Path, corpus: Path) -> None:
    folder = headed(tmp_path / "model")
    asked = (f"--maxact-model={folder}", f"--maxact-corpus={corpus}", "--maxact-schemes=W8A8", "--maxact-effect=W8A8")
    run_gate(pytester, *asked, "--maxact-card=README.md", "--maxact-bom=bom.json", "--maxact-save=r.safetensors")
    known, metrics = results_of(pytester.path / "README.md"), metrics_of(pytester.path / "bom.json")
    effect = load(pytester.path / "r.safetensors").effects["W8A8"]
    assert known["W8A8.fits"].metric_value == metrics["W8A8.fits"]["value"] in ("yes", "no", "not known")
    said = known["W8A8.mean_kl"]
    assert said.metric_value == float(metrics["W8A8.mean_kl"]["value"]) == effect.mean_kl
    assert "| `W8A8` |" in (pytester.path / "README.md").read_text()
    assert known.keys() == metrics.keys()
    for name, one in known.items():
        bounds, about = metrics[name].get("confidenceInterval", {}), one.metric_args or {}
        ends = [float(bounds[end]) for end in ("lowerBound", "upperBound")] if bounds else [None, None]
        assert [about.get("interval_low"), about.get("interval_high")] == ends
        assert about.get("interval_confidence") == (0.95 if bounds else None)
    averages = {name for name, one in metrics.items() if "confidenceInterval" in one}
    assert not averages & {"W8A8.lowest_sqnr.inputs", "W8A8.lowest_sqnr.weights", "max_activation"}


def test_nothing_asked_for_is_refused(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("card", str(saved))) == 4
    assert "give -o README.md, --bom FILE, or both" in capsys.readouterr().err


def test_a_card_says_fail_where_the_gate_does(
    pytester: pytest.Pytester, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bound = load(saved)["layers.0.hidden"].max_abs * 1.00001
    layers = f'families:\n  qwen3: {{layers: {{"layers.0.hidden": {{hidden: {bound!r}}}}}}}\n'
    pytester.path.joinpath("near.yaml").write_text(f"version: 1\nextends: builtin\n{layers}")
    card, bom = pytester.path / "README.md", pytester.path / "bom.json"
    asked = (str(saved), "--limits", "near.yaml")
    for way, code, said in (("fail", 1, "FAIL"), ("warn", 0, "PASS")):
        assert main(("judge", *asked, "--close", way)) == code
        assert main(("card", *asked, "--close", way, "-o", "README.md", "--bom", "bom.json")) == code
        assert results_of(card)["maxact_verdict"].metric_value == metrics_of(bom)["maxact_verdict"]["value"] == said
    capsys.readouterr()
    for command in (("judge",), ("card", "--bom", "bom.json"), ("report", "-o", "page.html")):
        assert main((command[0], str(saved), "--strict", *command[1:])) == 4
        assert "--strict" in capsys.readouterr().err
