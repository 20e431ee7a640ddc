"""Which tensors of a model are observed, where they are read, and what is left out and why: plain data."""

from dataclasses import dataclass

from pytest_maxact.numbers.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What is not observed, and why: a module, or a kind of site that this architecture does not have by design."""

    what: str
    why: str
    by_design: bool = False
    elements: int = 0
    """Of a weight that is not read, how many it has."""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMap:
    """`sites`: every site once, in depth order, with the module it is read from first. `places`: the same for every
    module that is read, in the order of reading; several make up one site. `scaled`: places that are read for static
    scales alone, of an artifact that calls for these.
    """

    model_type: str
    layers: int
    hidden_size: int
    sites: tuple[Site, ...]
    places: tuple[Site, ...]
    left_out: tuple[LeftOut, ...]
    scaled: tuple[Site, ...] = ()

    def modules_of(self, site: Site) -> list[str]:
        """Every module whose tensors make up a site, once."""
        return list(dict.fromkeys(place.module for place in self.places if place.name == site.name))
