"""Whether all of a batch was seen: an anatomy and what its hooks noted in, an error where anything is missing.

Guards the contract of coverage: every site's rows equal the batch's tokens, times the experts per token inside them,
and sites fire in the order of depth. A partial measurement is refused.
"""

from collections.abc import Mapping

import torch

from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Experts
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.accumulate import SiteAccumulator
from pytest_maxact.measure.observe.hooks import Hooks
from pytest_maxact.measure.observe.intake import Intake

FULL_WIDTH = frozenset({"hidden", "attn_output", "mlp_output", "final_norm"})
"""Kinds that are as wide as the residual stream."""


def check_coverage(
    anatomy: Anatomy, planned: PlannedBatch, hooks: Hooks, intake: Intake, rows: Mapping[str, Mapping[str, int]]
) -> None:
    """`rows`: the real rows of this batch that were seen, by site and part. Raises MeasureError."""
    pairs = {experts.site: _pairs(experts, planned.tokens, intake) for experts in anatomy.experts}
    for tap in anatomy.taps:
        seen = rows.get(tap.site.name, {})
        expected = pairs[tap.experts.site] if tap.routed and tap.experts is not None else planned.tokens
        found = seen.get(hooks.inputs.repeats.get((tap.site.name, tap.part), tap.part), 0)
        if found != expected:
            part = f" ({tap.part})" if tap.part else ""
            what = "did not fire" if found == 0 else f"gave {found} rows where {expected} were expected"
            raise MeasureError(
                f"site {tap.site.name}{part}, module {tap.site.module}, {what}\n"
                "  a partial measurement is refused; please report the model_type"
            )
    depth = [site.name for site in anatomy.sites if site.kind in ("embedding", "hidden", "final_norm")]
    if (order := list(dict.fromkeys(intake.order))) != depth:
        wrong = next(name for name, wanted in zip(order, depth, strict=True) if name != wanted)
        raise MeasureError(f"site {wrong} fired out of the order of depth\n  please report the model_type")


def check_counts(
    anatomy: Anatomy, accumulators: Mapping[str, SiteAccumulator], traffic: Mapping[str, Mapping[str, torch.Tensor]],
    tokens: Mapping[str, int],
) -> None:  # fmt: skip
    """After all batches: every site's element count equals tokens x width, exactly. `traffic`: tokens each expert was
    given, by router site and split. Raises MeasureError.
    """
    routed_parts = {(tap.site.name, tap.part) for tap in anatomy.taps if tap.routed}
    for site in anatomy.sites:
        accumulator = accumulators[site.name]
        width = anatomy.hidden_size
        known = {width} if site.kind in ("attn_output", "mlp_output") else {width * anatomy.streams}
        if site.kind == "final_norm":
            known.add(width)
        if site.kind in FULL_WIDTH and (other := set(accumulator.widths.values()) - known):
            raise MeasureError(
                f"{site.name} is {other.pop()} wide where the config says {max(known)}\n  please report the model_type"
            )
        routed = [experts for experts in anatomy.experts if experts.site == f"layers.{site.layer}.router"]
        for split, given in tokens.items():
            pairs = sum(int(traffic[e.site][split].sum()) for e in routed if split in traffic[e.site])
            expected = sum(
                (pairs if (site.name, part) in routed_parts else given) * width
                for part, width in accumulator.widths.items()
            )
            seen = int(accumulator.dense_counts(split).sum())
            if seen != expected or not accumulator.widths:
                raise MeasureError(
                    f"{site.name}: {seen} elements counted in the {split} split where {given} tokens make "
                    f"{expected}\n"
                    "  please report the model_type"
                )


def _pairs(experts: Experts, tokens: int, intake: Intake) -> int:
    """Token-expert pairs of the batch, from the router's choice; a token takes as many experts as the model says."""
    traffic = intake.traffic.get(experts.site)
    if traffic is None:
        raise MeasureError(
            f"{experts.site}: its experts were not called\n"
            "  a partial measurement is refused; please report the model_type"
        )
    pairs = int(traffic.sum())
    if not experts.skips and experts.top_k is not None and pairs != tokens * experts.top_k:
        raise MeasureError(
            f"{experts.site}: {pairs} token-expert pairs where {tokens} tokens take {experts.top_k} each\n"
            "  please report the model_type"
        )
    return pairs
