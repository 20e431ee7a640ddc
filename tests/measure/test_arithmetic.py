"""Products of 16-bit numbers through float32: which are, what they give, and that all else stays as it is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_maxact.checkpoint import device as machine
from pytest_maxact.errors import InputError
from pytest_maxact.measure import arithmetic
from pytest_maxact.measure.arithmetic import Accumulating, accumulated, arithmetic_of, computing

CPU = torch.device("cpu")
BOTH = frozenset({torch.bfloat16, torch.float16})


def drawn(*shape: int, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


X, W = (6, 32), (24, 32)
PRODUCTS: dict[str, Callable[[torch.dtype], tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]] = {
    "linear": lambda d: (functional.linear, (drawn(*X, dtype=d), drawn(*W, dtype=d), drawn(24, dtype=d)), {}),
    "linear, by name": lambda d: (functional.linear, (drawn(*X, dtype=d),), {"weight": drawn(*W, dtype=d)}),
    "matmul": lambda d: (torch.matmul, (drawn(*X, dtype=d), drawn(32, 8, dtype=d)), {}),
    "@": lambda d: (lambda a, b: a @ b, (drawn(2, 3, *X, dtype=d), drawn(2, 3, 32, 8, dtype=d)), {}),
    "mm": lambda d: (torch.mm, (drawn(*X, dtype=d), drawn(32, 8, dtype=d)), {}),
    "bmm": lambda d: (torch.bmm, (drawn(3, *X, dtype=d), drawn(3, 32, 8, dtype=d)), {}),
    "addmm": lambda d: (torch.addmm, (drawn(8, dtype=d), drawn(*X, dtype=d), drawn(32, 8, dtype=d)), {}),
    "baddbmm": lambda d: (
        torch.baddbmm,
        (drawn(3, 6, 8, dtype=d), drawn(3, *X, dtype=d), drawn(3, 32, 8, dtype=d)),
        {"beta": 0.5, "alpha": 2.0},
    ),
    "einsum": lambda d: (torch.einsum, ("bik,bkj->bij", drawn(3, *X, dtype=d), drawn(3, 32, 8, dtype=d)), {}),
    "tensordot": lambda d: (torch.tensordot, (drawn(*X, dtype=d), drawn(32, 8, dtype=d)), {"dims": 1}),
    "conv1d": lambda d: (functional.conv1d, (drawn(2, 4, 9, dtype=d), drawn(5, 4, 3, dtype=d)), {"padding": 1}),
    "conv2d": lambda d: (functional.conv2d, (drawn(2, 3, 9, 9, dtype=d), drawn(5, 3, 3, 3, dtype=d)), {"stride": 2}),
    "conv, one channel a group": lambda d: (
        functional.conv1d,
        (drawn(2, 4, 9, dtype=d), drawn(4, 1, 3, dtype=d)),
        {"groups": 4},
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", sorted(BOTH, key=str), ids=str)
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_computed_in_float32_and_rounded_once(name: str, form: torch.dtype) -> None:
    function, args, kwargs = PRODUCTS[name](form)

    def wide(value: Any) -> Any:
        return value.float() if isinstance(value, torch.Tensor) else value

    expected = function(*map(wide, args), **{key: wide(value) for key, value in kwargs.items()}).to(form)
    with Accumulating(BOTH):
        found = function(*args, **kwargs)
    assert found.dtype == form
    assert torch.equal(found, expected)


def test_experts_in_turn_are_multiplied_one_by_one_and_none_where_it_has_no_token() -> None:
    rows, stack = drawn(12, 32), drawn(4, 32, 16)
    offsets = torch.tensor([5, 5, 11, 12], dtype=torch.int32)
    with Accumulating(BOTH):
        found = functional.grouped_mm(rows, stack, offs=offsets)
    parts = [rows[a:b].float() @ stack[e].float() for e, (a, b) in enumerate([(0, 5), (5, 5), (5, 11)])]
    assert torch.equal(found[:11], torch.cat(parts).to(torch.bfloat16))
    assert torch.equal(found[11:], rows[11:] @ stack[3])
    assert torch.allclose(found.float(), functional.grouped_mm(rows, stack, offs=offsets).float(), rtol=2e-2, atol=1e-2)


def test_attention_in_float16_is_computed_in_float32_and_that_in_bfloat16_as_it_is() -> None:
    for form in BOTH:
        q, k, v = (drawn(1, 2, 6, 8, dtype=form, seed=seed) for seed in range(3))
        wide = functional.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True).to(form)
        with Accumulating(BOTH):
            found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        native = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        assert torch.equal(found, wide if form == torch.float16 else native)


def test_a_module_of_attention_is_computed_as_a_whole() -> None:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(16, 2, batch_first=True).to(torch.bfloat16).train()
    x = drawn(2, 6, 16)
    with Accumulating(BOTH), torch.no_grad():
        found, weights = module(x, x, x)
    expected, _ = module.float()(x.float(), x.float(), x.float())
    assert (found.dtype, weights.dtype) == (torch.bfloat16, torch.bfloat16)
    assert torch.equal(found, expected.to(torch.bfloat16))


@pytest.mark.parametrize(
    "call",
    [
        lambda: functional.linear(drawn(1, 64), drawn(16, 64)),
        lambda: functional.linear(drawn(3, 64), drawn(16, 64)),
        lambda: drawn(64) @ drawn(64, 16),
        lambda: drawn(16, 64) @ drawn(64),
        lambda: drawn(2, 1, 64) @ drawn(2, 64, 16),
        lambda: torch.bmm(drawn(2, 16, 64), drawn(2, 64, 1)),
        lambda: functional.grouped_mm(
            mat_a=drawn(8, 16), mat_b=drawn(2, 16, 8), offs=torch.tensor([4, 8], dtype=torch.int32)
        ),
        lambda: torch.einsum("ii->i", drawn(8, 8)),
        lambda: torch.einsum("i,i->", drawn(8), drawn(8)),
        lambda: functional.linear(drawn(6, 64, dtype=torch.float32), drawn(16, 64, dtype=torch.float32)),
        lambda: functional.linear(drawn(6, 64, dtype=torch.float64), drawn(16, 64, dtype=torch.float64)),
        lambda: torch.mm(drawn(6, 64), drawn(64, 16), out=torch.empty(6, 16, dtype=torch.bfloat16)),
        lambda: functional.rms_norm(drawn(6, 64), (64,)),
        lambda: torch.softmax(drawn(6, 64), -1),
    ],
)
def test_few_rows_other_formats_and_what_is_no_product_stay_as_they_are(call: Callable[[], torch.Tensor]) -> None:
    with Accumulating(BOTH):
        found = call()
    assert torch.equal(found, call())


def test_factors_of_two_formats_are_refused_as_torch_refuses_them() -> None:
    with Accumulating(BOTH), pytest.raises(RuntimeError):
        functional.linear(drawn(6, 8), drawn(4, 8, dtype=torch.float16))
    with Accumulating(frozenset({torch.float16})):
        assert torch.equal(functional.linear(drawn(6, 8), drawn(4, 8)), functional.linear(drawn(6, 8), drawn(4, 8)))


def test_a_large_matrix_is_wide_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = drawn(6, 32), drawn(50, 32), drawn(50)
    batch = drawn(3, 6, 32), drawn(3, 32, 8)
    with Accumulating(BOTH):
        whole, product = functional.linear(x, weight, bias), torch.bmm(*batch)
        monkeypatch.setattr(arithmetic, "_ENTRIES", 200)
        in_parts, one_by_one = functional.linear(x, weight, bias), torch.bmm(*batch)
        alone = functional.linear(x[None], weight)
    assert torch.allclose(in_parts.float(), whole.float(), rtol=1e-2)
    assert torch.allclose(one_by_one.float(), product.float(), rtol=1e-2, atol=1e-2)
    assert alone.shape == (1, 6, 50)


def test_infinity_stays_where_the_format_ends() -> None:
    row = torch.full((4, 64), 256.0, dtype=torch.float16)
    with Accumulating(BOTH):
        assert torch.isinf(functional.linear(row, row)).all()
        assert torch.isnan(functional.linear(row * float("nan"), row)).all()


@pytest.mark.parametrize(
    ("flags", "told", "bound", "expected"),
    [
        ({"avx512_bf16": True}, True, "", True),
        ({"amx_bf16": True}, True, "", True),
        ({"avx512_f": True}, True, "", False),
        ({"avx512_bf16": True}, False, "", False),
        ({"avx512_bf16": True}, True, "avx512_core", False),
        ({"avx512_bf16": True}, True, "AVX512_CORE_AMX", True),
    ],
)
def test_units_are_what_the_cpu_has_and_what_may_be_used(
    flags: dict[str, bool], told: bool, bound: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(machine, "_told", lambda form: told)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", bound)
    assert machine.has_units(torch.bfloat16) is expected
    assert not machine.has_units(torch.float16)
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert machine.has_units(torch.bfloat16) is told


def test_a_machine_without_units_accumulates_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "has_units", lambda form: form == torch.bfloat16)
    assert accumulated("auto", CPU) == {torch.float16}
    assert accumulated("native", CPU) == frozenset()
    assert accumulated("float32-accumulate", CPU) == BOTH
    assert arithmetic_of("auto", CPU, "bfloat16") == "native"
    assert arithmetic_of("auto", CPU, "float16") == "float32-accumulate"
    assert arithmetic_of("float32-accumulate", CPU, "float32") == "native"
    for choice, dtypes, active in (
        ("native", ("float16",), False),
        ("auto", ("bfloat16", "float32"), False),
        ("auto", ("bfloat16", "float16"), True),
        ("float32-accumulate", ("bfloat16",), True),
    ):
        with computing(choice, CPU, *dtypes) as mode:
            assert isinstance(mode, Accumulating) is active


def test_another_device_does_so_by_itself() -> None:
    cuda = torch.device("cuda", 0)
    assert accumulated("auto", cuda) == accumulated("native", cuda) == frozenset()
    with pytest.raises(InputError, match=r"cuda:0 accumulates in float32 by itself"):
        accumulated("float32-accumulate", cuda)
