"""What a pass sums up of schemes and channels is that over what plain hooks capture, one unpadded sample at a time."""

import pytest
import torch

from tests.support.low_bits import model_of
from tests.support.measuring import encoded
from tests.support.plain_sums import (
    IMPLEMENTATIONS,
    LENGTHS,
    NAMES,
    READ,
    SPLITS,
    check,
    observed,
    plain,
    seen_of,
    sums_of,
)

# -- sums, worked out on the host
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model_type", READ)
def test_sums_of_every_scheme_are_those_over_the_raw_inputs_of_sequences_that_run_alone(
    model_type: str, dtype: torch.dtype
) -> None:
    model, sequences = model_of(model_type, dtype), encoded(LENGTHS)
    observer, seen = observed(model, sequences), seen_of(model_type, dtype)
    assert observer.padded_tokens == 0
    sites = {where for where, _ in seen.rows}
    assert sites == {f"layers.{layer}.{kind}" for layer in range(3) for kind in READ[model_type]}
    found = observer.fidelity.sums
    for site in sites:
        for name in NAMES:
            wanted = sums_of(model_type, site, name, dtype)
            assert ((site, name) in found) == (wanted.tokens > 0)
            if wanted.tokens:
                check(found[site, name], wanted, name, exactly=True)
    assert {where for where, _ in found} == sites


@pytest.mark.parametrize(
    ("model_type", "implementation"),
    [
        ("qwen3", "eager"),
        *((name, how) for name in ("qwen3_moe", "mixtral", "deepseek_v3", "gpt_oss") for how in IMPLEMENTATIONS),
    ],
)
def test_padding_and_the_way_experts_run_change_no_sum(model_type: str, implementation: str) -> None:
    model, sequences = model_of(model_type, implementation=implementation), encoded(LENGTHS)
    observer = observed(model, sequences, batch_tokens=60)
    assert observer.padded_tokens > 0
    found = observer.fidelity.sums
    assert len(found) >= 12 * (len(NAMES) - 1)
    for (site, name), sums in found.items():
        check(sums, sums_of(model_type, site, name), name, exactly=False)


# -- calibration
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_tokens", [1, 60])
@pytest.mark.parametrize("model_type", READ)
def test_channels_are_the_largest_of_the_calibration_split_alone(model_type: str, batch_tokens: int) -> None:
    model, sequences = model_of(model_type), encoded(LENGTHS)
    observer, seen = observed(model, sequences, batch_tokens), seen_of(model_type)
    assert (observer.padded_tokens > 0) == (batch_tokens > 1)
    calibration = {sample for sample, split in SPLITS.items() if split == "calibration"}
    assert set(observer.fidelity.channels) == set(seen.rows)
    for key, channels in observer.fidelity.channels.items():
        wanted = seen.of(key, calibration).abs().amax(0)
        torch.testing.assert_close(channels, wanted, rtol=1e-4, atol=1e-6)
        everything = seen.of(key, set(SPLITS)).abs().amax(0)
        assert (everything > wanted * 1.01).any()


def test_a_static_scale_is_the_calibration_maximum_whatever_the_evaluation_split_holds() -> None:
    model, sequences = model_of("qwen3"), encoded(LENGTHS)
    observer, seen = observed(model, sequences, names=["FP8", "W8A8_STATIC"]), plain(model, "qwen3", sequences)
    calibration, evaluation = (
        {s for s, split in SPLITS.items() if split == wanted} for wanted in ("calibration", "evaluation")
    )
    beyond = 0
    for (site, name), sums in observer.fidelity.sums.items():
        [key] = [key for key in seen.rows if key[0] == site]
        relative = seen.of(key, evaluation).abs() / seen.of(key, calibration).abs().amax()
        # An entry equal to the maximum may be rounded beyond it when it is divided by its scale.
        assert (relative > 1 + 1e-6).sum() <= sums.clipped <= (relative > 1 - 1e-6).sum(), name
        beyond += sums.clipped
    assert beyond > 0
