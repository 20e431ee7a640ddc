"""Whether all of a batch was seen: an anatomy and what its hooks noted in, an error where anything is missing.

Guards the contract of coverage: every site's rows equal the batch's tokens, times the experts per token inside them,
and sites fire in the order of depth. A partial measurement is refused.
"""

from collections.abc import Mapping

from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Experts
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.hooks import Hooks
from pytest_maxact.measure.observe.intake import Intake


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
