"""Mixtures of experts: the same figures however the experts run, who was given tokens, and what a report and a limit
make of that.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.cli.main import main
from pytest_maxact.errors import InputError
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.routing import Routing
from pytest_maxact.measure.readings import readings
from pytest_maxact.record.file import load, save
from pytest_maxact.record.merge import merge
from tests.support import tiny
from tests.support.findings import checks_failing
from tests.support.gate_runs import OF_WEIGHTS, run_gate
from tests.support.measuring import encoded, observed, record_of
from tests.support.zoo.configs import build

LENGTHS = [9, 17, 5, 12, 9, 3]
IMPLEMENTATIONS = ("eager", "grouped_mm", "batched_mm")


def run_as(model: Any, implementation: str) -> None:
    for module in model.modules():
        if hasattr(getattr(module, "config", None), "_experts_implementation"):
            module.config._experts_implementation = implementation


def figures(observer: Observer) -> tuple[dict[str, float], dict[str, list[int]]]:
    maxima = {name: abs(seen.peaks[0].value) for name, seen in observer.accumulators.items()}
    return maxima, {
        site: torch.stack(list(splits.values())).sum(0).tolist() for site, splits in observer.traffic.items()
    }


class PerExpert(nn.Module):
    """A mixture-of-experts block with a module per expert, from the weights of a fused one."""

    def __init__(self, fused: Any) -> None:
        super().__init__()
        self.gate = fused.gate
        self.experts = nn.ModuleList()
        for gate_up, down in zip(fused.experts.gate_up_proj, fused.experts.down_proj, strict=True):
            expert: Any = nn.Module()
            for name, weight in zip(("gate_proj", "up_proj", "down_proj"), (*gate_up.chunk(2), down), strict=True):
                setattr(expert, name, nn.Linear(*weight.T.shape, bias=False, dtype=weight.dtype))
                getattr(expert, name).weight = nn.Parameter(weight.detach().clone())
            expert.act_fn = nn.SiLU()
            expert.forward = lambda states, e=expert: e.down_proj(e.act_fn(e.gate_proj(states)) * e.up_proj(states))
            self.experts.append(expert)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        flat = states.reshape(-1, states.shape[-1])
        _, weights, chosen = self.gate(flat)
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            token, place = torch.where(chosen == number)
            if len(token):
                out.index_add_(0, token, expert(states=flat[token]) * weights[token, place, None].to(flat.dtype))
        return out.view(states.shape)


def per_expert(model: Any) -> Any:
    for layer in decoder_of(model).layers:  # type: ignore[union-attr]
        layer.mlp = PerExpert(layer.mlp)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe", "gpt_oss", "bailing_hybrid", "qwen3_5_moe"])
def test_every_implementation_of_experts_gives_the_same_figures(model_type: str, dtype: torch.dtype) -> None:
    model: Any = tiny.random_model(model_type).to(dtype)
    seen = []
    for implementation in IMPLEMENTATIONS:
        run_as(model, implementation)
        seen.append(figures(observed(model, encoded(LENGTHS))))
    for maxima, traffic in seen[1:]:
        assert maxima == pytest.approx(seen[0][0], rel=1e-4 if dtype == torch.float32 else 0.03)
        if dtype == torch.float32:
            assert traffic == seen[0][1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_module_per_expert_gives_the_same_figures_as_fused_experts(dtype: torch.dtype) -> None:
    fused = figures(observed(tiny.random_model("qwen3_moe").to(dtype), encoded(LENGTHS)))
    single = figures(observed(per_expert(tiny.random_model("qwen3_moe").to(dtype)), encoded(LENGTHS)))
    assert single[0] == pytest.approx(fused[0], rel=1e-4 if dtype == torch.float32 else 0.03)
    if dtype == torch.float32:
        assert single[1] == fused[1]


def test_padding_is_no_traffic() -> None:
    model = tiny.random_model("qwen3_moe")
    padded, plain = (
        observed(model, encoded(LENGTHS), batch_tokens=200),
        observed(model, encoded(LENGTHS), batch_tokens=1),
    )
    assert padded.padded_tokens > plain.padded_tokens == 0
    assert figures(padded)[1] == figures(plain)[1]
    assert {sum(tokens) for tokens in figures(padded)[1].values()} == {2 * sum(LENGTHS)}


def test_an_expert_that_vanishes_from_the_pass_is_refused() -> None:
    from pytest_maxact.errors import MeasureError

    model: Any = per_expert(tiny.random_model("qwen3_moe"))
    block = model.layers[1].mlp
    block.gate.register_forward_hook(lambda m, args, out: (out[0], out[1], out[2].clamp(max=6) + (out[2] == 7) * 2))
    with pytest.raises(MeasureError, match=r"layers\.1\.router: \d+ token-expert pairs where \d+ tokens take 2 each"):
        observed(model, encoded(LENGTHS))


def behind(routing: Routing, rows: int) -> list[int]:
    tokens = routing.behind(torch.arange(rows))
    assert tokens is not None
    return tokens.tolist()


@pytest.mark.parametrize("order", ["eager", "grouped_mm", "batched_mm"])
def test_rows_of_experts_without_weights_are_dropped_where_they_occur(order: str) -> None:
    # Experts 2 and 3 have no weights: of four tokens with two choices each, five pairs are left.
    chosen = torch.tensor([[0, 3], [1, 0], [2, 1], [3, 1]])
    routing = Routing(chosen, order, count=2, skips=True)
    assert routing.traffic().tolist() == [2, 3]
    keep = routing.keep()
    pairs = {"eager": None, "grouped_mm": 5, "batched_mm": 5}[order]
    assert (keep is None) if pairs is None else (keep is not None and keep.numel() == pairs)
    tokens = behind(routing, 5)
    experts = sorted((token, expert) for token, row in enumerate(chosen.tolist()) for expert in row if expert < 2)
    assert sorted(tokens) == sorted(token for token, _ in experts)
    if order != "batched_mm":
        assert tokens[:2] == [0, 1]


def test_dense_experts_keep_the_rows_of_the_tokens_they_were_chosen_for() -> None:
    chosen = torch.tensor([[1], [0], [1]])
    routing = Routing(chosen, "dense", count=2)
    keep = routing.keep()
    assert keep is not None
    assert keep.tolist() == [1, 3, 5]
    assert behind(routing, 3) == [1, 0, 2]
    assert routing.traffic().tolist() == [1, 2]


# -- what a Record, a report and a limit make of it
# --------------------------------------------------------------------------------------


def starve(model: Any, layer: int, experts: tuple[int, ...]) -> Any:
    """The router of a layer can no longer choose these experts."""
    gate = model.layers[layer].mlp.gate
    original: Callable[..., Any] = gate.forward

    def forward(states: torch.Tensor) -> Any:
        logits, weights, chosen = original(states)
        for expert in experts:
            other = (chosen + 1) % 8
            chosen = torch.where(chosen == expert, other, chosen)
        return logits, weights, chosen

    gate.forward = forward
    return model


@pytest.fixture(scope="module")
def starved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Record of a mixture of experts in which layer 1 gives nothing to expert 3."""
    folder = tmp_path_factory.mktemp("experts")
    checkpoint = tiny.save(folder / "moe", tiny.random_model("qwen3_moe"))
    corpus = tiny.write_corpus(folder / "corpus.jsonl", tiny.sentences([40, 60, 30, 50, 44, 23]))
    record = record_of(checkpoint, corpus)
    router = record["layers.1.router"]
    assert router.tokens_per_expert is not None
    tokens = tuple(0 if expert == 3 else max(count, 1) for expert, count in enumerate(router.tokens_per_expert))
    filled = {
        name: replace(r, tokens_per_expert=tuple(max(c, 1) for c in r.tokens_per_expert)) if r.tokens_per_expert else r
        for name, r in record.sites.items()
    }
    path = folder / "starved.safetensors"
    save(replace(record, sites={**filled, "layers.1.router": replace(router, tokens_per_expert=tokens)}), path)
    return path


def test_a_record_keeps_the_tokens_of_every_expert(starved: Path) -> None:
    record = load(starved)
    assert record["layers.1.router"].unreached_experts == (3,)
    assert record["layers.0.router"].unreached_experts == ()
    assert record["layers.0.hidden"].tokens_per_expert is None


def test_parts_of_a_corpus_add_their_traffic() -> None:
    model = tiny.random_model("qwen3_moe")
    whole = observed(model, encoded(LENGTHS))
    seen = readings(whole, tiny.word_tokenizer())
    one = seen["layers.0.router"]
    assert one.tokens_per_expert is not None
    assert (one + one).tokens_per_expert == tuple(2 * count for count in one.tokens_per_expert)
    assert sum(one.tokens_per_expert) == 2 * sum(LENGTHS)
    assert (seen["layers.0.hidden"] + seen["layers.0.hidden"]).tokens_per_expert is None


def test_merged_records_tell_reached_from_unreached(starved: Path) -> None:
    with pytest.raises(InputError, match="share texts"):
        merge([load(starved), load(starved)])


def test_an_expert_without_tokens_is_reported(starved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(starved)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "no token reached 1 of 24 routed experts; most in layers.1.router, 1 of 8 experts (3)" in text
    assert main(["show", str(starved), "--json"]) == 0
    sites = json.loads(capsys.readouterr().out)["sites"]
    assert sites["layers.1.router"]["expert_tokens"][3] == 0
    assert sites["layers.1.hidden"]["expert_tokens"] is None


def limits(path: Path, share: float, family: str = "", generic: str = "") -> Path:
    path.write_text(
        "version: 1\n"
        "extends: builtin\n"
        f"{generic.format(share=share)}families:\n"
        "  mine:\n"
        "    model_types: [qwen3_moe]\n"
        "    limits: {hidden: 1.0e+4}\n"
        f"{family.format(share=share)}"
    )
    return path


FAMILY = "    max_unreached_experts: {share}\n"
GENERIC = "generic:\n  max_unreached_experts: {share}\n"


@pytest.mark.parametrize(
    ("family", "generic"), [(FAMILY, ""), ("", GENERIC), (FAMILY, "generic:\n  max_unreached_experts: 1.0\n")]
)
def test_a_limit_on_the_share_of_unreached_experts_passes_up_to_it(
    pytester: pytest.Pytester, starved: Path, tmp_path: Path, family: str, generic: str
) -> None:
    checks = 17 + 3 + OF_WEIGHTS + 3
    wide = limits(tmp_path / "wide.yaml", 0.125, family, generic)
    run_gate(pytester, f"--maxact-replay={starved}", f"--maxact-limits={wide}", passed=checks + 3)
    tight = limits(tmp_path / "tight.yaml", 0.12, family, generic)
    result = run_gate(pytester, f"--maxact-replay={starved}", f"--maxact-limits={tight}", failed=1, passed=checks + 2)
    result.stdout.fnmatch_lines(
        [
            "*layers.1.router: no token reached 1 of 8 experts (3), a share of 0.125, which exceeds the limit"
            " 0.12*tight.yaml*"
        ]
    )


def test_the_generic_limit_on_experts_holds_under_family_generic(
    pytester: pytest.Pytester, starved: Path, tmp_path: Path
) -> None:
    tight = limits(tmp_path / "tight.yaml", 0.0, "", GENERIC)
    run_gate(
        pytester,
        f"--maxact-replay={starved}",
        "--maxact-family=generic",
        f"--maxact-limits={tight}",
        "-k",
        "unreached",
        failed=1,
        passed=2,
        deselected=34 + OF_WEIGHTS + 3,
    )


def test_a_limit_on_experts_for_a_model_without_any_is_a_usage_error(
    pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(
        "version: 1\n"
        "families:\n"
        "  mine:\n"
        "    model_types: [qwen3]\n"
        "    limits: {hidden: 1.0e+4}\n"
        "    max_unreached_experts: 0.5\n"
    )
    result = run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={path}")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*limits.yaml:6: max_unreached_experts matches no site of this model*"])


def test_unreached_experts_are_a_metric_of_routers_only(starved: Path) -> None:
    from tests.support.metrics import value_of

    record = load(starved)
    assert value_of(record["layers.1.router"], "unreached_experts") == 0.125
    assert value_of(record["layers.1.hidden"], "unreached_experts") != value_of(
        record["layers.1.hidden"], "unreached_experts"
    )


def test_a_pass_over_starved_experts_names_them() -> None:
    model = starve(tiny.random_model("qwen3_moe"), 2, (5,))
    seen = readings(observed(model, encoded([60, 80, 70])), tiny.word_tokenizer())
    assert 5 in seen["layers.2.router"].unreached_experts
    assert resolve(model, model.config).experts[0].count == 8  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_broken_expert_that_no_token_reached_cannot_pass(value: float, tmp_path: Path) -> None:
    model: Any = tiny.random_model("qwen3_moe")
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences([2, 2]))
    tokens = record_of(tiny.save(tmp_path / "whole", model), corpus)["layers.1.router"].tokens_per_expert
    assert tokens is not None
    idle = tokens.index(0)
    with torch.no_grad():
        model.layers[1].mlp.experts.down_proj[idle, 3, 4] = value
    record = record_of(tiny.save(tmp_path / "broken", model), corpus)
    assert not any(reading.nonfinite for reading in record.sites.values())
    name = f"weights.layers.1.mlp.experts.{idle}.down_proj.weight::nonfinite"
    assert {name, "weights::nonfinite"} <= set(checks_failing(verdict(record)))


def test_a_broken_correction_of_the_routing_cannot_pass(tmp_path: Path) -> None:
    model: Any = build("deepseek_v3").base_model
    model.layers[-1].mlp.gate.e_score_correction_bias.fill_(float("nan"))
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences([12, 20]))
    record = record_of(tiny.save(tmp_path / "broken", model), corpus)
    name = "weights.layers.3.mlp.gate.e_score_correction_bias::nonfinite"
    assert name in checks_failing(verdict(record, family="generic"))


def test_a_broken_expert_that_a_token_reached_is_a_finding(tmp_path: Path) -> None:
    model: Any = tiny.random_model("qwen3_moe")
    with torch.no_grad():
        model.layers[1].mlp.experts.down_proj[:, 3, 4] = float("nan")
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences([2, 2]))
    assert record_of(tiny.save(tmp_path / "broken", model), corpus)["layers.1.mlp_output"].nonfinite > 0
