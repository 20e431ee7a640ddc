"""A site map for a program."""

from typing import Any

from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Tap


def as_data(anatomy: Anatomy, model_type: str) -> dict[str, Any]:
    """`{"model_type", "layers", "hidden_size", "sites": [{"site", "kind", "layer", "module", "modules", "detail"},
    ...], "left_out": [{"what", "why", "by_design"}, ...]}`.

    `module` is where a site is read first, `modules` every module whose tensors make it up; paths are those in the
    model without its head.
    """
    taps: dict[str, list[Tap]] = {}
    for tap in anatomy.taps:
        taps.setdefault(tap.site.name, []).append(tap)
    return {
        "model_type": model_type,
        "layers": anatomy.layers,
        "hidden_size": anatomy.hidden_size,
        "sites": [
            {
                "site": site.name,
                "kind": site.kind,
                "layer": site.layer,
                "module": site.module,
                "modules": list(dict.fromkeys(tap.site.module for tap in taps[site.name])),
                "detail": site.detail,
            }
            for site in anatomy.sites
        ],
        "left_out": [
            {"what": entry.what, "why": entry.why, "by_design": entry.by_design} for entry in anatomy.left_out
        ],
    }
