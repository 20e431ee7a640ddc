"""What smoothing would gain at a site."""

from pytest_maxact.numbers.channels import smoothing_gain_db
from pytest_maxact.record.held import Summary
from pytest_maxact.record.reading import SiteReading


def smoothing_gain(reading: SiteReading) -> float | None:
    """The largest `smoothing_gain_db` of a site's parts; None where its channels were not observed, or no weights could
    take up what is smoothed.
    """
    held = reading.held
    if not reading.site.is_linear_input:
        return None
    if isinstance(held, Summary):
        return held.figures.get("smoothing_gain_db")
    return (
        max((smoothing_gain_db(amax) for amax in held.channels.parts.values()), default=None) if held.channels else None
    )
