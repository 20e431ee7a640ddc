"""Whether what a Record says of a stress set and of a search agrees with itself: ValueError with the first
contradiction.
"""

from pytest_maxact.errors import shown
from pytest_maxact.record.record import Record


def require_sound_stress(record: Record) -> None:
    """Raise ValueError for sites or recipes that are not those of the Record, and peaks that no recipe reached."""
    stress = record.stress
    if stress is None:
        return
    if stress.scanned > stress.vocabulary:
        raise ValueError(f"stress.scanned: {stress.scanned} of {stress.vocabulary}")
    if not stress.recipes or any(
        recipe.tokens < recipe.samples or not recipe.samples for recipe in stress.recipes.values()
    ):
        raise ValueError("stress.recipes: one of nothing, or none")
    if stress.sites.keys() != record.sites.keys():
        raise ValueError("stress.sites: not those of the Record")
    for name, site in stress.sites.items():
        if site.largest.keys() != stress.recipes.keys():
            raise ValueError(f"stress.sites.{shown(name)}.largest: not of every recipe")
        finite = [value for value in site.largest.values() if value != float("inf")]
        if any(value != value for value in site.largest.values()):
            raise ValueError(f"stress.sites.{shown(name)}.largest: a NaN, which stands as inf")
        if (site.first_nonfinite is not None) != (len(finite) < len(site.largest)):
            raise ValueError(f"stress.sites.{shown(name)}.first_nonfinite: where all is finite, or missing")
        most = abs(site.peak.value) if site.peak else 0.0
        if most < max(finite, default=0.0) or (len(finite) == len(site.largest) and most > max(finite, default=0.0)):
            raise ValueError(f"stress.sites.{shown(name)}.peak: {most:g}, which is not the largest of the recipes")


def require_sound_hunt(record: Record) -> None:
    """Raise ValueError for a site that the Record has not, no input, and a peak that is not what was found."""
    for place, one in enumerate(record.hunt or ()):
        if one.site not in record.sites:
            raise ValueError(f"hunt.{place}.site: {shown(one.site)} is no site of the Record")
        if not one.inputs or not all(one.inputs):
            raise ValueError(f"hunt.{place}.inputs: none, or an empty one")
        if one.scanned > one.vocabulary:
            raise ValueError(f"hunt.{place}.scanned: {one.scanned} of {one.vocabulary}")
        if one.found != one.found or (one.peak and one.found != float("inf") and abs(one.peak.value) > one.found):
            raise ValueError(f"hunt.{place}.found: {one.found:g}, which is not what its peak says")
