"""A plan for a program."""

from typing import Any

from pytest_maxact.numbers.plan import ModelPlan


def plan_data(plan: ModelPlan) -> dict[str, Any]:
    """`{"model", "dtype", "needs": {name: bytes}, "devices": [{"device", "free", "total"}], "ways": [...], "chosen",
    "against", ...}`; bytes and seconds, null where nothing was probed.
    """
    return {
        "model": plan.model,
        "model_type": plan.model_type,
        "dtype": plan.dtype,
        "parameters": plan.parameters,
        "layers": plan.layers,
        "needs": dict(plan.parts),
        "devices": [{"device": device, "free": free, "total": total} for device, free, total in plan.rooms],
        "batch_tokens": plan.batch_tokens,
        "tokens": plan.tokens,
        "tokens_estimated": plan.about,
        "flops_per_token": plan.flops_per_token,
        "flops": plan.speeds.flops,
        "disk_bytes_per_second": plan.speeds.disk,
        "unprobed": plan.speeds.unprobed or None,
        "ways": [
            {
                "how": way.how,
                "device": way.device,
                "takes": dict(way.takes),
                "fits": not way.against,
                "against": way.against or None,
                "on_disk": way.on_disk,
                "seconds": way.seconds,
            }
            for way in plan.ways
        ],
        "chosen": plan.chosen or None,
        "against": plan.against or None,
    }
