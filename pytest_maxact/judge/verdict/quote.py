"""The token at which a finding's entry sat, in its text: a finding in, what a report may quote of the corpus out."""

from dataclasses import dataclass

from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.peaks import NonFinite, Peak
from pytest_maxact.record.metrics.metric import GROWTH, LEAST, MAX_ABS, NONFINITE, SHRINK

_MORE = "..."
_OF_ENTRIES = (MAX_ABS, LEAST, GROWTH, SHRINK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A token, and the text on either side of it; dots stand for more of it."""

    before: str
    token: str
    after: str

    @property
    def words(self) -> str:
        """On one line, the token in brackets."""
        return f"{self.before}[{self.token}]{self.after}"


def place_of(finding: Finding) -> Peak | NonFinite | None:
    """Where the first entry that is not finite sat, or the largest, which sets the scale of all others."""
    reading = finding.reading
    if reading is None:
        return None
    if finding.limit.metric == NONFINITE and reading.first_nonfinite:
        return reading.first_nonfinite
    return next(iter(reading.peaks), None)


def quote_of(place: Peak | NonFinite | None, most: int | None = None) -> Quote | None:
    """Of so many characters on either side at `most`; None where its text is not known."""
    if place is None or place.around is None:
        return None
    before, after = place.around.before, place.around.after
    most = max(len(before), len(after)) if most is None else most
    begins = place.around.begins and len(before) <= most
    ends = place.around.ends and len(after) <= most
    return Quote(
        before=("" if begins else _MORE) + before[max(0, len(before) - most) :],
        token=place.token,
        after=after[:most] + ("" if ends else _MORE),
    )


def quoted_at(finding: Finding, most: int | None = None) -> Quote | None:
    """Of a finding about single entries, which its words name; None of any other."""
    metric = finding.limit.metric
    broken = finding.reading is not None and finding.reading.nonfinite
    if metric == NONFINITE or (metric in _OF_ENTRIES and not broken):
        return quote_of(place_of(finding), most)
    return None
