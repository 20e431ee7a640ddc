"""The kernel for GPUs gives what the plain path gives, bit for bit: in Triton's interpreter where there is no GPU, and
on whatever GPU there is.
"""

import importlib.util
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.measure.observe import fused
from pytest_maxact.measure.observe.fused import WINDOW, agree, kernel_of, read, read_plain, trials

GPU = torch.cuda.is_available()
with_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
on_gpu = pytest.mark.skipif(not GPU, reason="needs a GPU")
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def interpreted(x: torch.Tensor, *arguments: Any, **constants: Any) -> None:
    """Two programs, whose tiles hold several rows."""
    from pytest_maxact.measure.observe import kernel

    kernel.read[(2,)](x, *arguments, SHARED=False, TILE=8 * constants["W"], **constants)


def launching() -> tuple[Any, torch.device]:
    if not GPU:
        return interpreted, torch.device("cpu")
    device = torch.device("cuda", 0)
    return kernel_of(device), device


@st.composite
def tensors(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A tensor of raw bits, hence with every kind of number, some rows massive; in any order; and its padding."""
    dtype, rows, width = draw(st.sampled_from(DTYPES)), draw(st.integers(1, 9)), draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1 << 30)))
    integers, ends = (torch.int32, 1 << 31) if dtype == torch.float32 else (torch.int16, 1 << 15)
    values = torch.randint(-ends, ends, (2 * rows, 2 * width), generator=generator).to(integers).view(dtype)
    quiet = torch.rand(2 * rows, generator=generator) < 0.6
    values[quiet] = torch.randn(int(quiet.sum()), 2 * width, generator=generator).mul(0.05).to(dtype)
    values[quiet & (torch.rand(2 * rows, generator=generator) < 0.5), ::3] = 2048.0
    laid = draw(st.sampled_from(["whole", "strided", "columns", "transposed"]))
    values = {
        "whole": values[:rows, :width].contiguous(), "strided": values[::2, :width], "columns": values[:rows, ::2],
        "transposed": values[:rows, :width].T,
    }[laid]  # fmt: skip
    padding = draw(st.none() | st.sets(st.integers(0, values.shape[0] - 1)))
    return values, None if not padding else torch.tensor(sorted(padding))


@with_triton
@settings(max_examples=12, deadline=None)
@given(tensors())
def test_the_kernel_counts_what_the_plain_path_counts(given: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    launch, device = launching()
    values, padding = given
    assert agree(values.to(device), None if padding is None else padding.to(device), launch)


@with_triton
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_trial_of_a_kernel_fails_where_one_entry_is_miscounted(dtype: torch.dtype) -> None:
    launch, device = launching()
    values = torch.linspace(-300.0, 300.0, 40, device=device).view(4, 10).to(dtype)

    def wrong(x: torch.Tensor, real: torch.Tensor, counts: torch.Tensor, *rest: Any, **constants: Any) -> None:
        launch(x, real, counts, *rest, **constants)
        counts[WINDOW] += 1

    assert agree(values, None, launch)
    assert not agree(values, None, wrong)


def test_trials_hold_every_kind_of_number() -> None:
    for dtype in DTYPES:
        found = [values for values, _ in trials(torch.device("cpu")) if values.dtype == dtype]
        massive = [read_plain(values, None, True)[1].massive for values in found]
        assert any(one is not None and one[0] > 0 for one in massive)
        assert any(values.isnan().any() for values in found)
        assert any(not values.is_contiguous() for values in found)
        every = {int(bits) for values in found for bits in read_plain(values, None, False)[0].nonzero()}
        assert len(every) == 1 << 15 or dtype == torch.float32


@with_triton
def test_without_a_gpu_nothing_is_compiled_and_a_device_goes_the_plain_way() -> None:
    assert kernel_of(torch.device("meta")) is None
    counts, work = read(torch.empty(3, 5, device="meta"), None, True)
    assert counts.device.type == work.row_max.device.type == "meta"


@on_gpu
def test_the_gpu_of_this_machine_is_trusted_with_the_kernel() -> None:
    assert kernel_of(torch.device("cuda", 0)) is not None


def test_a_gpu_that_counts_wrongly_is_observed_without_the_kernel_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("P", (), {"multi_processor_count": 2}))
    monkeypatch.setattr(fused, "trials", lambda device: [(torch.ones(2, 3, dtype=torch.bfloat16), None)])
    monkeypatch.setattr(fused, "_launching", lambda shared, processors: lambda *arguments, **constants: None)
    assert kernel_of.__wrapped__(torch.device("cuda", 0)) is None
    assert "cuda:0 is observed without the fused kernel" in caplog.text
    assert "something else than the plain path" in caplog.text


_COMPILED = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import triton
from pytest_maxact.measure.observe import kernel

pointers = dict(x="*i16", real="*i8", counts="*i64", largest="*i32", broken="*i32", median="*i32", entries="*i32")
numbers = dict(rows="i32", width="i32", row_stride="i64", column_stride="i64")
constants = dict(PADDED=True, MASSIVE=True, SINGLE=False, HALF=False, INFINITY=0x7F80, LIMIT=0x42C8, SHARED=True,
                 BASE=11136, WINDOW=8192, W=1024, TILE=4096)
signature = {**pointers, **numbers, **dict.fromkeys(constants, "constexpr")}
source = ASTSource(fn=kernel.read, signature=signature, constexprs=constants)
made = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": 8})
print(made.asm["ptx"].count("red.shared.add"), made.asm["ptx"].count(".b32 maxact_bins"), made.metadata.shared)
"""


@with_triton
def test_it_compiles_for_a_gpu_that_is_not_there_and_counts_each_entry_once_in_shared_memory() -> None:
    """A tile of 4096 entries over 256 threads: 16 each, and none twice."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    code = textwrap.dedent(_COMPILED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert not done.returncode, done.stderr[-2000:]
    counted, declared, memory = map(int, done.stdout.split())
    assert (counted, declared) == (16, 1)
    assert 4 * WINDOW + memory <= 96 << 10
