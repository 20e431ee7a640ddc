"""A whole model whose products go through float32: as close to exact products as native ones, and told apart."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

from pytest_maxact.errors import InputError
from pytest_maxact.measure import arithmetic
from pytest_maxact.measure.arithmetic import Accumulating
from pytest_maxact.measure.effect import effects
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.provenance import content_of, expected_footing
from pytest_maxact.measure.run import measure
from pytest_maxact.numbers.arithmetic import ACCUMULATED, NATIVE
from pytest_maxact.record.comparability import differences, footing_of, part_differences
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from pytest_maxact.trainer.callback import MaxActCallback
from tests.support.paths import TRAINED
from tests.support.training import causal_lm, record_at, saved_record, train, trainer_of

BFLOAT16 = frozenset({torch.bfloat16})
HALF_A_STEP = 2.0**-8
"""Of bfloat16, relative."""
Outputs = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def outputs() -> Callable[[AbstractContextManager[Any], torch.dtype], Outputs]:
    """What every module of the trained checkpoint that is a site gives for a batch, in float64."""
    models = {dtype: AutoModel.from_pretrained(TRAINED, dtype=dtype) for dtype in (torch.bfloat16, torch.float64)}
    ids = torch.randint(4, 500, (4, 64), generator=torch.Generator().manual_seed(0))

    def run(mode: AbstractContextManager[Any], dtype: torch.dtype) -> Outputs:
        found: Outputs = {}
        ends = ("self_attn", "mlp", "gate_proj", "q_proj", "down_proj", "norm", *map(str, range(6)))
        handles = [
            module.register_forward_hook(
                lambda module, args, output, name=name: found.__setitem__(
                    name, (output[0] if isinstance(output, tuple) else output).double()
                )
            )
            for name, module in models[dtype].named_modules()
            if name.endswith(ends)
        ]
        with torch.no_grad(), mode:
            models[dtype](input_ids=ids)
        for handle in handles:
            handle.remove()
        return found

    return run


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_every_site_is_as_close_to_exact_products_as_native_ones_are(outputs: Any) -> None:
    """Against products in float64, rounded, and against the model without any rounding."""
    rounded, exact = (
        outputs(Accumulating(BFLOAT16, torch.float64), torch.bfloat16),
        outputs(nullcontext(), torch.float64),
    )
    accumulated, native = outputs(Accumulating(BFLOAT16), torch.bfloat16), outputs(nullcontext(), torch.bfloat16)
    assert len(exact) > 30
    for name in exact:
        ours, theirs = accumulated[name], native[name]
        assert distance(ours, rounded[name]) <= distance(theirs, rounded[name]) + HALF_A_STEP / 2, name
        assert distance(ours, exact[name]) <= 1.05 * distance(theirs, exact[name]), name


def test_a_product_alone_is_the_exact_one_rounded_but_for_ties() -> None:
    generator = torch.Generator().manual_seed(1)
    x, weight = (torch.randn(shape, generator=generator).to(torch.bfloat16) for shape in ((256, 512), (512, 512)))
    with Accumulating(BFLOAT16):
        found = torch.nn.functional.linear(x, weight).double()
    exact = x.double() @ weight.double().T
    assert float((found != exact.to(torch.bfloat16).double()).double().mean()) < 1e-3
    assert bool(((found - exact).abs() <= 1.01 * HALF_A_STEP * exact.abs() + 1e-4).all())


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    """The trained checkpoint in both arithmetics."""
    found = {}
    for how in (NATIVE, ACCUMULATED):
        settings = Settings(model=str(TRAINED), max_samples=8, max_seq_len=256, arithmetic=how)
        found[how] = measure(prepare(settings), settings, "qwen3")
    return found


def test_maxima_are_native_ones_within_a_step_of_bfloat16(records: dict[str, Record]) -> None:
    native, accumulated = records[NATIVE], records[ACCUMULATED]
    assert native.provenance.dtype == "bfloat16"
    for name, reading in native.sites.items():
        assert accumulated.sites[name].max_abs == pytest.approx(reading.max_abs, rel=2.0**-7), name
        assert accumulated.sites[name].histogram.count == reading.histogram.count
    assert accumulated.sites != native.sites


def test_records_of_two_arithmetics_are_not_measured_alike(records: dict[str, Record]) -> None:
    native, accumulated = records[NATIVE].provenance, records[ACCUMULATED].provenance
    assert (native.arithmetic, accumulated.arithmetic) == (NATIVE, ACCUMULATED)
    assert differences(footing_of(native), footing_of(accumulated)) == [
        "arithmetic (native there, float32-accumulate here)"
    ]
    assert part_differences(native, accumulated) == ["arithmetic"]
    earlier = replace(native, arithmetic=None)
    assert differences(footing_of(earlier), footing_of(accumulated)) == []


def test_what_will_be_computed_is_known_before_any_weights_load(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(model=str(TRAINED), max_samples=8)
    prepared = prepare(settings)
    contents = {}
    for units in (True, False):
        monkeypatch.setattr(arithmetic, "has_units", lambda form, units=units: units)
        assert expected_footing(prepared, settings).arithmetic == (NATIVE if units else ACCUMULATED)
        contents[units] = content_of(prepared, settings, "digest", [])
    assert contents[True] != contents[False]
    wide = replace(settings, dtype="fp32")
    assert expected_footing(prepared, wide).arithmetic == NATIVE


def test_another_device_is_refused_before_any_weights_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_maxact.measure.prepare.pick_device", lambda wanted: torch.device("cuda"))
    with pytest.raises(InputError, match="accumulates in float32 by itself"):
        prepare(Settings(model=str(TRAINED), arithmetic=ACCUMULATED))


@pytest.mark.parametrize("how", [NATIVE, ACCUMULATED])
def test_the_effect_of_a_scheme_is_computed_likewise(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    active: list[bool] = []
    plain = effects.Headed.states

    def states(self: Any, input_ids: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        modes = torch.overrides._get_current_function_mode_stack()
        active.append(any(isinstance(mode, Accumulating) for mode in modes))
        return plain(self, input_ids, **inputs)

    monkeypatch.setattr(effects.Headed, "states", states)
    settings = Settings(model=str(TRAINED), max_samples=4, max_seq_len=128, effect=("W8A8",), arithmetic=how)
    record = measure(prepare(settings), settings, "qwen3")
    assert set(active) == {how == ACCUMULATED}
    assert record.effects["W8A8"].mean_kl > 0


def test_a_run_in_training_is_measured_as_its_checkpoint_is(tmp_path: Path, corpus: Path) -> None:
    model = causal_lm()
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    trainer = trainer_of(tmp_path, model, max_steps=3)
    train(tmp_path, corpus, trainer=trainer, arithmetic=ACCUMULATED)
    live = record_at(tmp_path, 3)
    saved = saved_record(tmp_path / "checkpoint-3", corpus, arithmetic=ACCUMULATED)
    assert live.provenance.arithmetic == saved.provenance.arithmetic == ACCUMULATED
    assert live.sites == saved.sites
    with pytest.raises(InputError, match="arithmetic is 'exact'"):
        MaxActCallback(trainer, arithmetic="exact")
