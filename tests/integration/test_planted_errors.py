"""Planted models whose low-bit error is known, through the whole measurement."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel

from tests.support import tiny
from tests.support.measuring import record_of
from tests.support.metrics import value_of

WIDE = 128


def patterned(rows: torch.Tensor, folder: Path) -> Path:
    """A Qwen3 whose first linear layers are given these rows [64, 128], one per word: their root mean square is 1, and
    every norm leaves them alone.
    """
    config = AutoConfig.for_model(
        "qwen3", **{**tiny.FAMILIES["qwen3"], "hidden_size": WIDE, "intermediate_size": WIDE, "num_hidden_layers": 1}
    )
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        model.embed_tokens.weight.copy_(rows)
    return tiny.save(folder, model)


def noise_with(outliers: tuple[int, ...], size: float) -> torch.Tensor:
    rows = torch.rand((64, WIDE), generator=torch.Generator().manual_seed(3)) * 2 - 1
    rows[:, list(outliers)] = size
    return rows / rows.pow(2).mean(1, keepdim=True).sqrt()


def sqnr_of(rows: torch.Tensor, scheme: str, corpus: Path, folder: Path) -> dict[str, float]:
    record = record_of(patterned(rows, folder), corpus, schemes=(scheme,))
    return {
        name: value_of(record["layers.0.qkv_in"], f"{scheme}.{name}")
        for name in ("sqnr_db", "flush_to_zero", "token_low_db")
    }


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_corpus(
        tmp_path_factory.mktemp("words") / "corpus.jsonl", tiny.sentences([40, 35, 50, 45, 38, 42])
    )


@pytest.mark.parametrize("outliers", [(5,), (5, 90)])
@pytest.mark.parametrize("scheme", ["W8A8", "W8A8_STATIC", "W4A8"])
def test_noise_below_outliers_has_the_error_of_their_step(
    scheme: str, outliers: tuple[int, ...], words: Path, tmp_path: Path
) -> None:
    """Uniform noise of amplitude 1 under outliers of 20: the step is 20 / 127.5, its energy a twelfth of its square."""
    size, noise = 20.0, WIDE - len(outliers)
    step = size / (127.0 if scheme == "W8A8_STATIC" else 127.5)
    lost_at_top = 0.0 if scheme == "W8A8_STATIC" else (0.5 * step) ** 2
    signal, error = len(outliers) * size**2 + noise / 3, noise * step**2 / 12 + len(outliers) * lost_at_top
    found = sqnr_of(noise_with(outliers, size), scheme, words, tmp_path / "m")
    tolerance = 0.8 if scheme == "W8A8_STATIC" else 0.4  # one scale for rows that were normalised each by its own
    assert found["sqnr_db"] == pytest.approx(10 * torch.log10(torch.tensor(signal / error)).item(), abs=tolerance)
    assert found["flush_to_zero"] == pytest.approx(step / 2 * noise / WIDE, abs=0.02)


@pytest.mark.parametrize(
    ("scheme", "size", "taken"),
    [
        ("W8A8", 2.0**20, WIDE),
        ("FP8_BLOCK", 2.0**20, WIDE),
        ("MXFP4", 2.0**20, 2 * 32),
        ("NVFP4", 256.0, 2 * 16),
        ("NVFP4", 2.0**20, WIDE),  # the scale of a group without an outlier lies below the smallest FP8 number
    ],
)
def test_outliers_take_what_shares_their_scale_with_them(
    scheme: str, size: float, taken: int, words: Path, tmp_path: Path
) -> None:
    """Two outliers out of reach of the rest, in groups of their own: what shares a scale with one of them becomes zero,
    the other groups do not.
    """
    found = sqnr_of(noise_with((5, 90), size), scheme, words, tmp_path / "m")
    lost = (taken - 2) / WIDE
    spared = 0.1 * (1 - taken / WIDE)  # of noise alone, what lies below a quarter of the smallest step
    assert lost - 0.01 <= found["flush_to_zero"] <= lost + spared
    assert found["sqnr_db"] > 15, "the outliers carry the energy"


@pytest.mark.parametrize("scheme", ["W8A8", "FP8_DYNAMIC", "FP8", "MXFP8", "MXFP4", "NVFP4", "W8A8_STATIC"])
def test_a_constant_tensor_loses_what_its_level_is_off_the_scale(scheme: str, words: Path, tmp_path: Path) -> None:
    rows = torch.ones(64, WIDE)
    found = sqnr_of(rows, scheme, words, tmp_path / "m")
    if scheme in ("W8A8",):
        assert found["sqnr_db"] == pytest.approx(20 * torch.log10(torch.tensor(127.5 / 0.5)).item(), abs=0.1), (
            "127 of 127.5 steps"
        )
    else:
        assert found["sqnr_db"] > 60, "the largest magnitude is a level, and so is a power of two"
    assert found["flush_to_zero"] == 0
