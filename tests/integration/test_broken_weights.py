"""What the measurement does not run can be broken, and does not pass: the checkpoint under the gate, by the tensor's
name, in the terminal, in JUnit, in the exit status, under xdist and in a replay.
"""

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from pytest_maxact.errors import InputError
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.record.file import load, save
from tests.support import tiny
from tests.support.findings import checks_failing
from tests.support.gate_runs import CHECKS, run_gate
from tests.support.measuring import record_of

Tensors = dict[str, torch.Tensor]
PAD = "embed_tokens.weight"
FAILS = f"maxact::weights.{PAD}::nonfinite"


def changed(folder: Path, change: Callable[[Tensors], object]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def broken(name: str, value: float = float("nan")) -> Callable[[Tensors], object]:
    """The last entry of a tensor."""
    return lambda t: t[name].view(-1)[-1:].fill_(value)


@pytest.fixture(scope="module")
def padded(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model whose embedding is broken in the row of the padding, which no text holds."""
    folder = tmp_path_factory.mktemp("padded") / "qwen3"
    return changed(Path(shutil.copytree(checkpoint, folder)), lambda t: t[PAD][0].fill_(float("nan")))


@pytest.fixture(scope="module")
def recorded(padded: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    record = record_of(padded, corpus)
    assert not any(reading.nonfinite for reading in record.sites.values())
    path = tmp_path_factory.mktemp("recorded") / "r.safetensors"
    save(record, path)
    return path


def test_a_broken_row_of_the_embedding_that_no_token_met_fails_by_name(
    padded: Path, corpus: Path, pytester: pytest.Pytester
) -> None:
    run_gate(
        pytester,
        f"--maxact-model={padded}",
        f"--maxact-corpus={corpus}",
        "--junitxml=j.xml",
        "-k",
        "weights",
        failed=2,
        passed=2,
        deselected=CHECKS - 3,
        exit=1,
        report=["*FAIL: 2 of 4 checks that ran do not hold", f"FAILED {FAILS}*", "FAILED maxact::weights::nonfinite*"],
        lacks=["Captured", "101%"],
    )
    cases = ElementTree.parse(pytester.path / "j.xml").getroot().iter("testcase")
    failures = {case.get("name") for case in cases if case.find("failure") is not None}
    assert failures == {"weights::nonfinite", f"weights.{PAD}::nonfinite"}


def test_it_fails_so_in_a_worker_too(padded: Path, corpus: Path, pytester: pytest.Pytester) -> None:
    common = (f"--maxact-model={padded}", f"--maxact-corpus={corpus}", "-n", "1", "--junitxml=j.xml", FAILS)
    run_gate(pytester, *common, subprocess=True, failed=2, exit=1, report=[f"FAILED {FAILS}*"])
    assert f'classname="maxact.weights.{PAD}"' in (pytester.path / "j.xml").read_text()


RERUNS = """
    from _pytest.runner import runtestprotocol

    def pytest_runtest_protocol(item, nextitem):
        # as pytest-rerunfailures and flaky do: the reports of an attempt that failed are shown as reruns
        for attempt in range(3):
            item._initrequest()
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
            again = attempt < 2 and any(report.failed for report in reports)
            for report in reports:
                if again and report.failed:
                    report.outcome = "rerun"
                item.ihook.pytest_runtest_logreport(report=report)
            if not again:
                return True
    """


def test_however_often_a_check_is_run_again_each_tensor_and_each_property_is_told_once(
    padded: Path, corpus: Path, pytester: pytest.Pytester
) -> None:
    common = (f"--maxact-model={padded}", f"--maxact-corpus={corpus}", "--junitxml=j.xml", "-o", "junit_family=xunit1")
    run_gate(pytester, *common, "-k", "weights", files={"conftest.py": dedent(RERUNS)}, failed=2, passed=2, exit=1)
    cases = list(ElementTree.parse(pytester.path / "j.xml").getroot().iter("testcase"))
    assert [case.get("name") for case in cases].count(f"weights.{PAD}::nonfinite") == 1
    for case in cases:
        told = [one.get("name") for one in case.iter("property")]
        assert len(told) == len(set(told)), case.get("name")
        assert len(case.findall("failure")) <= 1


def test_a_replay_has_a_check_of_the_tensor(recorded: Path, pytester: pytest.Pytester) -> None:
    listed = run_gate(pytester, f"--maxact-replay={recorded}", "--co", "-q").outlines
    assert FAILS in listed
    run_gate(pytester, f"--maxact-replay={recorded}", FAILS, failed=1, exit=1)
    run_gate(pytester, f"--maxact-replay={recorded}", "-k", "embed_tokens", failed=1, exit=1)


@pytest.mark.parametrize("how", ["measured", "in a worker", "replayed"])
def test_a_waiver_by_name_lets_it_pass_and_one_of_a_sound_tensor_is_stale(
    how: str, padded: Path, recorded: Path, corpus: Path, pytester: pytest.Pytester
) -> None:
    asked = {
        "measured": [f"--maxact-model={padded}", f"--maxact-corpus={corpus}"],
        "in a worker": [f"--maxact-model={padded}", f"--maxact-corpus={corpus}", "-n", "1"],
        "replayed": [f"--maxact-replay={recorded}"],
    }[how]
    text = (
        "version: 1\nextends: builtin\nwaive:\n"
        f"  - {{site: weights.SITE, reason: no word is padding, owner: me, until: {date.today() + timedelta(30)}}}\n"
    )
    files = {"w.yaml": text.replace("SITE", PAD), "stale.yaml": text.replace("SITE", "norm.weight")}
    run_gate(
        pytester,
        *asked,
        "--maxact-limits=w.yaml",
        files=files,
        exit=0,
        xfailed=1,
        passed=CHECKS + 1,
        subprocess=how == "in a worker",
        says=["PASS", "1 is waived"],
        lacks=["PARTIAL"],
    )
    if how == "replayed":
        stale = "the waiver for weights.norm.weight by me is stale"
        run_gate(pytester, *asked, "--maxact-limits=stale.yaml", exit=1, says=[stale])


def test_a_record_of_an_earlier_version_says_what_was_not_looked_at(recorded: Path, pytester: pytest.Pytester) -> None:
    from dataclasses import replace

    save(replace(load(recorded), weights=None), pytester.path / "earlier.safetensors")
    run_gate(
        pytester,
        "--maxact-replay=earlier.safetensors",
        passed=CHECKS - 3,
        exit=0,
        says=["this Record holds no scan of its weights"],
    )
    run_gate(pytester, "--maxact-replay=earlier.safetensors", "--maxact-strict", exit=4)


def test_what_a_tied_head_makes_of_that_row_is_found_in_the_predictions_too(corpus: Path, tmp_path: Path) -> None:
    folder = headed(tmp_path / "m", "qwen3", tie_word_embeddings=True)
    changed(folder, lambda t: t["model.embed_tokens.weight"][0].fill_(float("nan")))
    found = checks_failing(verdict(record_of(folder, corpus), family="generic"))
    assert {"weights.model.embed_tokens.weight::nonfinite", "weights::nonfinite"} <= set(found)


def headed(folder: Path, model_type: str, auto: Any = AutoModelForCausalLM, **overrides: Any) -> Path:
    torch.manual_seed(0)
    config = tiny.config_of(model_type)
    for name, value in overrides.items():
        setattr(config, name, value)
    return tiny.save(folder, auto.from_config(config, dtype=torch.float32))


def failing(folder: Path, corpus: Path) -> set[str]:
    found = checks_failing(verdict(record_of(folder, corpus), family="generic"))
    return {name for name in found if name.startswith("weights")}


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return headed(tmp_path_factory.mktemp("untied") / "m", "qwen3", tie_word_embeddings=False)


@pytest.mark.parametrize(
    ("change", "metric"),
    [
        (broken("lm_head.weight"), "nonfinite"),
        (broken("lm_head.weight", float("-inf")), "nonfinite"),
        (lambda t: t["lm_head.weight"].zero_(), "all_zero"),
    ],
    ids=["nan", "inf", "zero"],
)
def test_a_broken_head_fails_by_name(
    change: Callable[[Tensors], object], metric: str, untied: Path, corpus: Path, tmp_path: Path
) -> None:
    folder = changed(Path(shutil.copytree(untied, tmp_path / "m")), change)
    assert failing(folder, corpus) == {f"weights::{metric}", f"weights.lm_head.weight::{metric}"}


def test_a_head_that_is_missing_fails_by_name_beside_the_predictions_that_it_would_make(
    untied: Path, corpus: Path, tmp_path: Path, pytester: pytest.Pytester
) -> None:
    folder = changed(Path(shutil.copytree(untied, tmp_path / "m")), lambda t: t.pop("lm_head.weight"))
    result = run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}", exit=1)
    failed = {line.split()[1] for line in result.outlines if line.startswith("FAILED")}
    assert {"maxact::weights::misfit", "maxact::weights.lm_head.weight::misfit"} <= failed


def test_a_head_of_another_shape_is_refused_by_name(untied: Path, corpus: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(untied, tmp_path / "m"))
    changed(folder, lambda t: t.update({"lm_head.weight": torch.zeros(0)}))
    with pytest.raises(
        InputError, match=r"lm_head.weight is \[0\], and config.json makes it \[64, 64\]\n  an empty part"
    ):
        record_of(folder, corpus)


@pytest.fixture(scope="module")
def composite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = headed(tmp_path_factory.mktemp("composite") / "m", "gemma3", AutoModelForImageTextToText)
    return changed(folder, lambda t: [tensor.add_(0.01) for tensor in t.values()])


@pytest.mark.parametrize("part", ["vision", "projector", "bias"])
def test_a_broken_tower_or_projector_fails_by_name(part: str, composite: Path, corpus: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(composite, tmp_path / "m"))
    name = next(name for name in load_file(folder / "model.safetensors") if part in name)
    changed(folder, broken(name))
    assert failing(folder, corpus) == {"weights::nonfinite", f"weights.{name}::nonfinite"}
    changed(folder, lambda t: t.pop(name))
    assert failing(folder, corpus) == {"weights::misfit", next(n for n in failing(folder, corpus) if "." in n)}


def test_a_tower_of_another_shape_is_refused_by_name(composite: Path, corpus: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(composite, tmp_path / "m"))
    name = next(name for name in load_file(folder / "model.safetensors") if "vision" in name and "mlp" in name)
    changed(folder, lambda t: t.update({name: torch.zeros(0)}))
    with pytest.raises(InputError, match=rf"{name} is \[0\], and config.json makes it \[32"):
        record_of(folder, corpus)


@pytest.mark.parametrize(
    ("model_type", "name"),
    [("gpt2", "transformer.wpe.weight"), ("phi", "lm_head.bias"), ("opt", "model.decoder.embed_positions.weight")],
)
def test_positions_beyond_the_longest_sample_and_a_bias_of_the_head_are_looked_at(
    model_type: str, name: str, corpus: Path, tmp_path: Path
) -> None:
    from tests.support.zoo import configs

    folder = tiny.save(tmp_path / "m", configs.build(model_type))
    changed(folder, broken(name))
    assert failing(folder, corpus) == {"weights::nonfinite", f"weights.{name}::nonfinite"}
