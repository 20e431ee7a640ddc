"""Every architecture of the zoo through the real pass: maxima and expert traffic against plain hooks on modules named
by hand.
"""

import json
from pathlib import Path

import pytest
import torch

from pytest_maxact.checkpoint.load import load, skeleton, whole_skeleton
from pytest_maxact.checkpoint.locate import Checkpoint, locate, with_weights
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.checkpoint.weights.presence import misfits_of
from pytest_maxact.checkpoint.weights.scan import scan_weights
from pytest_maxact.checkpoint.weights.stored import headers
from pytest_maxact.errors import MaxactError
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.settings.settings import Settings
from tests.support.measuring import dense, encoded, observed, within_one_step
from tests.support.zoo.configs import TYPES, build, headless
from tests.support.zoo.plain import Reading, plain_reading

DEPTHS = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "decoder_layers",
    "num_decoder_layers",
    "num_blocks",
)
LENGTHS = (7, 12, 3)
FAMILIES_OF_THE_PAPER = {
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "qwen3_5_text",
    "qwen3_5_moe_text",
    "gemma",
    "gemma2",
    "gemma3_text",
    "gpt_oss",
    "bailing_hybrid",
}
LEAKING = {"cpmant", "doge"}
"""cpmant takes the mask from the ids, and doge's retrieval splits its logits across the batch."""


def expected(model_type: str, alone: bool) -> Reading:
    """What plain hooks see: of one padded batch, or of one sequence at a time where the architecture lets neighbours
    see each other.
    """
    model = headless(build(model_type))
    rows = [torch.tensor([sequence.ids]) for sequence in encoded(LENGTHS, vocabulary=128)]
    if not alone:
        ids, mask = (torch.zeros((len(rows), max(LENGTHS)), dtype=torch.long) for _ in range(2))
        for index, row in enumerate(rows):
            ids[index, : row.shape[1]], mask[index, : row.shape[1]] = row[0], 1
        return plain_reading(model, model_type, ids, mask)
    whole = Reading()
    for row in rows:
        one = plain_reading(model, model_type, row, torch.ones_like(row))
        whole.maxima = {name: max(value, whole.maxima.get(name, 0.0)) for name, value in one.maxima.items()}
    return whole


def by_module(model_type: str, maxima: dict[str, float]) -> dict[str, float]:
    """Sites of layers that run several times, joined under the layer they share; every other architecture as it is."""
    if model_type != "hrm_text":
        return maxima
    config = build(model_type).config
    stack, cycle = config.num_layers_per_stack, config.L_cycles + 1
    joined: dict[str, float] = {}
    for name, value in maxima.items():
        head, _, rest = name.partition(".")
        if head == "layers":
            number, kind = rest.split(".")
            low = (int(number) // stack) % cycle < config.L_cycles
            name = f"layers.{int(number) % stack + (0 if low else stack)}.{kind}"
        joined[name] = max(value, joined.get(name, 0.0))
    return joined


def test_the_zoo_holds_at_least_sixty_types_and_every_family_of_the_paper() -> None:
    assert len(TYPES) >= 60
    assert set(TYPES) >= FAMILIES_OF_THE_PAPER


@pytest.mark.parametrize("model_type", TYPES)
def test_maxima_and_expert_traffic_equal_those_of_plain_hooks_in_any_order_and_batching(model_type: str) -> None:
    model = build(model_type)
    observer = observed(model, encoded(LENGTHS, vocabulary=128))
    assert observer.alone == (model_type in LEAKING)
    assert observer.alone or observer.padded_tokens > 0
    reading = expected(model_type, observer.alone)
    found = by_module(model_type, {name: abs(seen.peaks[0].value) for name, seen in observer.accumulators.items()})
    assert found == pytest.approx(reading.maxima, rel=1e-4, abs=1e-7)
    assert traffic_of(observer) == reading.tokens_per_expert
    alone, together = observed(model, encoded(LENGTHS, vocabulary=128)[::-1], batch_tokens=1), dense(observer)
    assert traffic_of(alone) == traffic_of(observer)
    for name, counts in dense(alone).items():
        assert within_one_step(counts, together[name]), f"{name}, one at a time in another order"


def traffic_of(observer: Observer) -> dict[str, list[int]]:
    return {site: sum(by_split.values()).tolist() for site, by_split in observer.traffic.items()}


def located(folder: Path) -> Checkpoint:
    return locate(Settings(model=str(folder)))


@pytest.mark.parametrize("model_type", TYPES)
def test_a_saved_checkpoint_loads_to_the_sites_of_its_skeleton_and_a_layer_too_many_is_refused(
    model_type: str, tmp_path: Path
) -> None:
    build(model_type).save_pretrained(tmp_path)  # type: ignore[operator]
    checkpoint = located(tmp_path)
    files = with_weights(checkpoint, Settings(model=str(tmp_path)))
    scan = scan_weights(files, misfits_of(whole_skeleton(checkpoint), headers(files)))
    assert (scan.misfits, scan.broken, scan.empty) == ({}, {}, {})
    loaded = load(checkpoint, Settings(model=str(tmp_path)))
    assert (
        resolve(loaded.model, checkpoint.config).outline
        == resolve(skeleton(checkpoint).body, checkpoint.config).outline
    )
    if model_type in ("hrm_text", "bigbird_pegasus", "whisper"):
        return
    written = json.loads((tmp_path / "config.json").read_text())
    for key in DEPTHS:
        if isinstance(written.get(key), int):
            written[key] -= 1
    for key, value in written.items():
        if (
            isinstance(value, list)
            and len(value) == checkpoint.config.num_hidden_layers
            and key.startswith(("layer", "mlp_layer", "block", "mlp_"))
        ):
            written[key] = value[:-1]
    (tmp_path / "config.json").write_text(json.dumps(written))
    with pytest.raises(MaxactError):
        load(located(tmp_path), Settings(model=str(tmp_path)))
