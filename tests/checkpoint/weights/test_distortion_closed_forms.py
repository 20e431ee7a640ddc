"""Errors of weights that are known in closed form."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from pytest_maxact.checkpoint.weights import stored as stored
from pytest_maxact.numbers.weights import WeightDistortion
from tests.support import tiny
from tests.support.distortions import EVERY, WIDE, assert_equal, edited, errors_of, figures, flat, saved


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("plain"), tiny.random_model("qwen3", **WIDE))


def of_matrix(folder: Path, matrix: torch.Tensor, names: Sequence[str]) -> Mapping[str, WeightDistortion]:
    """The figures of a checkpoint's gate projection [256, 128], when it is this matrix."""

    def put(tensors: dict[str, torch.Tensor]) -> None:
        tensors["layers.0.mlp.gate_proj.weight"] = matrix

    return flat(errors_of(edited(folder, put), names))["layers.0.mlp.gate_proj.weight"]


def test_a_constant_matrix_loses_half_a_level_of_255_to_int8_and_nothing_to_powers_of_two(plain: Path) -> None:
    found = of_matrix(plain, torch.full((256, 128), 3.0), ("W8A8",))["W8A8"]
    assert found.sqnr_db == pytest.approx(20 * math.log10(255), abs=1e-4)
    assert found.rel_rmse == pytest.approx(1 / 255, rel=1e-5)
    assert (found.clip_rate, found.flush_to_zero) == (1.0, 0.0)
    exact = of_matrix(plain, torch.full((256, 128), 4.0), ("MXFP8", "MXFP4", "FP16"))
    assert [error.sqnr_db for error in exact.values()] == [math.inf] * 3


def test_one_outlier_row_flushes_the_others_where_they_share_its_scale(plain: Path) -> None:
    matrix = torch.full((256, 128), 2.0**-12)
    matrix[77] = 448.0
    found = of_matrix(plain, matrix, ("FP8", "FP8_DYNAMIC"))
    flushed, kept = found["FP8"], found["FP8_DYNAMIC"]
    assert flushed.flush_to_zero == 255 / 256
    assert flushed.sqnr_db == pytest.approx(10 * math.log10((448.0**2 + 255 * 2.0**-24) / (255 * 2.0**-24)), abs=1e-4)
    assert kept.flush_to_zero == 0.0
    assert kept.sqnr_db > 120


def test_a_matrix_of_zeros_loses_nothing(plain: Path) -> None:
    for name, error in of_matrix(plain, torch.zeros(256, 128), EVERY).items():
        assert error == WeightDistortion(
            entries=256 * 128, sqnr_db=math.inf, lowest_db=math.inf, rel_rmse=0.0, clip_rate=0.0, flush_to_zero=0.0,
            most_flushed=0.0,
        ), name  # fmt: skip


def test_values_of_the_format_up_to_its_maximum_are_kept_exactly(plain: Path) -> None:
    levels = torch.tensor([448.0, -448.0, 256.0, -0.5, 2.0**-9, 0.0, 1.75, -208.0])
    found = of_matrix(plain, levels.repeat(256, 16), ("FP8", "FP8_DYNAMIC"))
    assert [(error.sqnr_db, error.clip_rate) for error in found.values()] == [(math.inf, 0.0)] * 2
    integers = torch.arange(-127.0, 129.0).roll(1).repeat(256)[: 256 * 128].view(256, 128).clamp(max=127)
    integers[:, 0] = -127.5
    error = of_matrix(plain, integers, ("W8A8",))["W8A8"]
    assert error.clip_rate == 0.0
    assert error.sqnr_db == pytest.approx(
        10 * math.log10(float((integers.double() ** 2).sum()) / (256 * 0.25)), abs=1e-4
    )


def test_a_cast_that_overflows_has_no_sqnr_and_counts_what_became_infinite(plain: Path) -> None:
    matrix = torch.ones(256, 128)
    matrix[:, 0] = 1e6
    found = of_matrix(plain, matrix, ("FP16", "BF16"))
    assert (found["FP16"].sqnr_db, found["FP16"].lowest_db, found["FP16"].clip_rate) == (-math.inf, -math.inf, 1 / 128)
    assert found["FP16"].rel_rmse == math.inf
    assert found["BF16"].clip_rate == 0.0


@pytest.mark.parametrize("power", [-100, 100])
def test_magnitudes_whose_squares_leave_the_range_have_the_figures_of_any_other(power: int, plain: Path) -> None:
    matrix = torch.randn((256, 128), generator=torch.Generator().manual_seed(3))
    usual = of_matrix(plain, matrix, ("W8A8", "FP8"))
    for name, error in of_matrix(plain, matrix * 2.0**power, ("W8A8", "FP8")).items():
        assert_equal(error, figures(usual[name]))


def test_weights_in_double_precision_are_quantized_as_single_ones(plain: Path) -> None:
    matrix = torch.randn((256, 128), generator=torch.Generator().manual_seed(3))
    assert of_matrix(plain, matrix.double(), ("W8A8", "NVFP4")) == of_matrix(plain, matrix, ("W8A8", "NVFP4"))
