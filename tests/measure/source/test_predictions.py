"""Predictions against a source's are those of full logits of both models, sample by sample, and the noise floor is the
source's own.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import dispatch_model
from torch.distributions import Categorical, kl_divergence
from transformers import AutoModelForCausalLM

from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.placement.placement import Placement
from pytest_maxact.measure.effect.effects import evaluation_samples, measure_effects
from pytest_maxact.measure.effect.headed import load_with_head
from pytest_maxact.measure.source import predictions
from pytest_maxact.measure.source.origin import Origin
from pytest_maxact.measure.source.predictions import compared_predictions
from pytest_maxact.measure.source.sums import COLUMNS, compared, departure_of
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.ways import OFFLOADED
from pytest_maxact.record.source import AGREEMENTS, Departure
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.effects import headed
from tests.support.exports import compressed
from tests.support.measuring import encoded

SEQUENCES = encoded([9, 14, 5, 17, 11, 7, 13, 6, 12, 10, 15, 8])


@pytest.fixture(scope="module", params=["llama", "qwen3_moe"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source, and an artifact with a little noise on every matrix."""
    model = headed(request.param)
    folder = tmp_path_factory.mktemp("folders")
    source = tiny.save(folder / "source", model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.add_(torch.randn_like(parameter) * 0.02)
    return source, tiny.save(folder / "artifact", model)


def told(
    artifact: Path, source: Path, placement: Placement | None = None, **options: Any
) -> tuple[Departure, Departure | None]:
    settings = Settings(model=str(artifact), **{"arithmetic": "native", "batch_tokens": 64, **options})
    own = replace(settings, model=str(source))
    return compared_predictions(
        locate(settings), settings, Origin(checkpoint=locate(own), settings=own), SEQUENCES, False, placement
    )


@torch.no_grad()
def plain(folder: Path) -> list[torch.Tensor]:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    return [model(torch.tensor([s.ids])).logits[0].double() for s in evaluation_samples(SEQUENCES)]


def test_every_figure_is_that_of_full_logits(folders: tuple[Path, Path]) -> None:
    source, artifact = folders
    chosen = evaluation_samples(SEQUENCES)
    p, q = plain(source), plain(artifact)
    forth, back = (
        torch.cat(
            [kl_divergence(Categorical(logits=a), Categorical(logits=b)) for a, b in zip(one, other, strict=True)]
        )
        for one, other in ((p, q), (q, p))
    )
    loss, own = (
        torch.cat(
            [
                torch.nn.functional.cross_entropy(x[:-1], torch.tensor(s.ids[1:]), reduction="none")
                for x, s in zip(side, chosen, strict=True)
            ]
        )
        .mean()
        .exp()
        .item()
        for side in (q, p)
    )
    wanted = {
        "mean_kl": forth.mean().item(), "reverse_kl": back.mean().item(), "perplexity": loss, "source_perplexity": own,
        "perplexity_ratio": loss / own,
    }  # fmt: skip
    for k, name in enumerate(AGREEMENTS, 1):
        shares = [
            len(set(a.topk(k).indices.tolist()) & set(b.topk(k).indices.tolist())) / k
            for one, other in zip(p, q, strict=True)
            for a, b in zip(one, other, strict=True)
        ]
        wanted[name] = float(np.mean(shares))
    found, noise = told(artifact, source)
    assert (found.samples, found.tokens, found.nonfinite) == (len(chosen), sum(map(len, chosen)), 0)
    assert {name: figure.value for name, figure in found.figures.items()} == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    assert all(figure.low <= figure.value <= figure.high for figure in found.figures.values())
    assert found.figures["mean_kl"].low < found.figures["mean_kl"].high
    sure = torch.cat([x.softmax(-1).amax(-1) for x in p])
    assert [one.tokens for one in found.confidence] == [
        int(((sure >= one.low) & ((sure < one.high) | (one.high == 1))).sum()) for one in found.confidence
    ]
    assert noise is not None
    assert noise.figures["mean_kl"].value < 1e-6 < found.figures["mean_kl"].value
    assert noise.figures["top1_agreement"].value == 1.0


def test_the_source_itself_departs_by_nothing_and_samples_alone_have_no_noise(folders: tuple[Path, Path]) -> None:
    source, _ = folders
    found, noise = told(source, source, batch_tokens=1)
    values = {name: figure.value for name, figure in found.figures.items()}
    assert values["mean_kl"] == values["reverse_kl"] == 0.0
    assert {values[name] for name in (*AGREEMENTS, "perplexity_ratio")} == {1.0}
    assert noise is None


@pytest.mark.parametrize("held", [0.5, None], ids=["on disk", "in memory"])
@pytest.mark.parametrize("folders", ["llama"], indirect=True)
def test_of_an_offloaded_source_its_head_stays_and_no_more(
    folders: tuple[Path, Path], held: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, artifact = folders
    wanted = told(artifact, source)
    loaded, size = [], sum(file.stat().st_size for file in source.glob("*.safetensors"))

    def load(checkpoint: Any, settings: Settings, placement: Any) -> Any:
        for earlier in loaded:
            left = [one for one in earlier.model.parameters() if not one.is_meta and one.numel()]
            inside = getattr(earlier.lm_head._hf_hook, "weights_map", None)
            assert left == []
            assert inside is None or set(getattr(inside.dataset, "state_dict", {})) <= {"lm_head.weight"}
        model, device = load_with_head(checkpoint, settings, placement)
        if held is None:
            parts = {"model": "cpu", "lm_head": "cpu"}
            dispatch_model(model, parts, main_device=torch.device("cpu"), force_hooks=True)
            assert model.lm_head._hf_hook.weights_map.dataset.state_dict
        loaded.append(model)
        return model, device

    monkeypatch.setattr(predictions, "load_with_head", load)
    limits = {"cpu": int((held or 0) * size)}
    placement = Placement(how=OFFLOADED, device="cpu", line="", limits=limits) if held else None
    assert repr(told(artifact, source, placement)) == repr(wanted)
    assert len(loaded) == 2


def test_a_head_that_is_not_finite_has_no_figure(folders: tuple[Path, Path], tmp_path: Path) -> None:
    source, artifact = folders
    model: Any = AutoModelForCausalLM.from_pretrained(artifact, dtype="auto")
    with torch.no_grad():
        model.lm_head.weight[5] = math.nan
    found, _ = told(tiny.save(tmp_path / "broken", model), source)
    assert found.nonfinite == found.tokens
    assert all(math.isnan(found.figures[name].value) for name in ("mean_kl", *AGREEMENTS, "perplexity_ratio"))
    assert not any(one.tokens for one in found.confidence)


def distributions(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def test_what_one_rules_out_and_the_other_does_not_is_infinitely_far_one_way() -> None:
    sums = compared(distributions([0.5, 0.5, 0.0]), distributions([1.0, 0.0, 0.0]), torch.tensor([0]))
    assert sums[5] == math.inf
    assert sums[6] == pytest.approx(math.log(2))


def test_tokens_as_likely_as_one_another_agree_in_any_order() -> None:
    one, other = [0.4, 0.2, 0.2, 0.1, 0.06, 0.04], [0.4, 0.2, 0.2, 0.06, 0.1, 0.04]
    sums = compared(distributions(one), distributions(other), torch.tensor([-1]))
    assert sums[7:12].tolist() == [1.0, 1.0, 1.0, 0.75, 1.0]


def test_the_last_token_of_a_sample_tells_no_perplexity() -> None:
    p = distributions([0.5, 0.5], [0.25, 0.75])
    sums = np.array([compared(p, p, torch.tensor([1, -1]))])
    assert sums.shape == (1, COLUMNS)
    found = departure_of(sums, ["a"])
    assert found.figures["perplexity"].value == pytest.approx(2.0)
    assert math.isnan(found.figures["perplexity"].low)  # one sample tells no interval


def test_an_artifact_whose_inputs_are_quantized_departs_as_its_scheme_does(tmp_path: Path) -> None:
    wide = {"hidden_size": 128, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 4}
    source = tiny.save(tmp_path / "source", headed("llama", torch.bfloat16, **wide))
    found, _ = told(compressed.export(tmp_path / "artifact", "W8A8", source), source)
    checkpoint = locate(Settings(model=str(source)))
    settings = Settings(model=str(source), arithmetic="native", batch_tokens=64)
    effect = measure_effects(checkpoint, settings, [SCHEMES["W8A8"]], {}, SEQUENCES)["W8A8"]
    assert found.figures["mean_kl"].value == pytest.approx(effect.mean_kl, rel=1e-9)
    assert found.figures["top1_agreement"].value >= effect.top1_agreement  # which counts tokens as likely as another
    assert found.figures["perplexity_ratio"].value == pytest.approx(effect.perplexity_ratio, rel=1e-9)


def test_ends_of_intervals_stay_where_figures_can_lie() -> None:
    sums = np.zeros((6, COLUMNS))
    sums[:, 0] = sums[:, 2] = [1, 1, 1, 40, 40, 40]
    sums[:, 5] = [9, 0, 0, 0, 0, 0.1]
    sums[:, 7] = [0, 1, 1, 40, 40, 40]
    found = departure_of(sums, ["a"] * 6).figures
    assert 0.0 <= found["mean_kl"].low < found["mean_kl"].value
    assert found["top1_agreement"].value < found["top1_agreement"].high <= 1.0
