"""The largest entries of a site, and the first that is not finite: what they were and where they sat."""

from dataclasses import dataclass, field

from pytest_maxact.numbers.checked import LATER, Count, Flag, Place, Real

PEAKS_KEPT = 10
AROUND_KEPT = 40
"""Characters of the text on either side of a token, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """A little of the text before and after a token. `begins`, `ends`: whether there is no more of it on that side."""

    before: str
    after: str
    begins: Flag = field(default=False, metadata=LATER)
    ends: Flag = field(default=False, metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """One large entry: its signed value, and where it sat. `channel` is the index along the site's width; `part` names
    the module where a site joins several (the routed and the shared experts of one layer). `sample` and `token` are
    empty where routing hides the row.
    """

    value: Real
    sample: str
    position: Place
    token: str
    token_id: Place
    channel: Count
    part: str = ""
    around: Around | None = field(default=None, metadata=LATER)
    """The text that its token stands in; None where that is not known."""

    @property
    def order(self) -> tuple[float, str, int, str, int, float]:
        """Total order, largest first: equal magnitudes rank by sample, position and channel, so merging has one
        answer.
        """
        return -abs(self.value), self.sample, self.position, self.part, self.channel, -self.value

    @property
    def place(self) -> tuple[str, int, int]:
        """Where it sat, in the order by which one entry comes before another."""
        return self.sample, self.position, self.channel


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFinite:
    """Where the first NaN or infinity of a site sat, in sample order."""

    sample: str
    position: Place
    token: str
    channel: Count
    around: Around | None = field(default=None, metadata=LATER)
