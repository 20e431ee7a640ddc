"""A site map for a program."""

from typing import Any

from pytest_maxact.numbers.site_map import SiteMap


def sites_data(mapped: SiteMap) -> dict[str, Any]:
    """`{"model_type", "layers", "hidden_size", "sites": [{"site", "kind", "layer", "module", "modules", "detail"},
    ...], "left_out": [{"what", "why", "by_design"}, ...]}`, and `"scaled": [site, ...]` of an artifact that calls for
    static scales: what is read for these alone, where there is one.

    `module` is where a site is read first, `modules` every module whose tensors make it up; paths are those in the
    model without its head.
    """
    return {
        "model_type": mapped.model_type,
        "layers": mapped.layers,
        "hidden_size": mapped.hidden_size,
        "sites": [
            {
                "site": site.name,
                "kind": site.kind,
                "layer": site.layer,
                "module": site.module,
                "modules": mapped.modules_of(site),
                "detail": site.detail,
            }
            for site in mapped.sites
        ],
        "left_out": [{"what": entry.what, "why": entry.why, "by_design": entry.by_design} for entry in mapped.left_out],
        **({"scaled": list(dict.fromkeys(site.name for site in mapped.scaled))} if mapped.scaled else {}),
    }
