"""The Record: all that one pass saw, and everything a verdict needs. No model and no torch is needed to read it
(`record_file`) or to judge it.

Records of parts of one corpus merge by addition, in any order, to the identical whole.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_maxact.record.effect import Effect
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.reading import SiteReading

METRIC_VERSION = 2
"""Raised when a change of code changes a figure; Records of different metric versions are not judged or compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One measured checkpoint: provenance and the reading of every site, in depth order."""

    provenance: Provenance
    sites: Mapping[str, SiteReading]
    effects: Mapping[str, Effect] = field(default_factory=dict)
    """What schemes do to predictions, by scheme."""
    metric_version: int = field(default=METRIC_VERSION)

    @property
    def tokens(self) -> int:
        return self.provenance.tokens

    def __getitem__(self, site: str) -> SiteReading:
        """The reading of a site by name. Raises KeyError that names the closest sites."""
        if site not in self.sites:
            close = difflib.get_close_matches(site, self.sites, n=2)
            raise KeyError(
                f"no site {site!r} in this Record; "
                + (f"did you mean {' or '.join(close)}?" if close else f"it has {len(self.sites)} sites")
            )
        return self.sites[site]

    def readings(self) -> list[dict[str, str | int | float | None]]:
        """A row of plain values per site, ready for a data frame: `pandas.DataFrame(record.readings())`."""
        from pytest_maxact.record.table import rows

        return rows(self)

    @property
    def carrier(self) -> SiteReading:
        """The site that holds M, the largest magnitude of all counted sites; the shallowest of equals."""
        counted = [reading for reading in self.sites.values() if reading.site.counted]
        return min(counted, key=lambda reading: (-reading.max_abs, reading.site.order))

    @property
    def is_slim(self) -> bool:
        """Whether it holds figures in place of histograms."""
        return any(reading.is_slim for reading in self.sites.values())

    def slim(self, metrics: Iterable[str] = ()) -> "Record":
        """The same with figures in place of histograms: those that reports, comparisons and shipped limits read, and
        `metrics`, named as in limits.

        Raises InputError for a metric that there is not, or that this Record, slim already, did not keep.
        """
        from pytest_maxact.record.summary import slim

        return slim(self, metrics)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the Record to `path`, whole or not at all. Raises InputError where the place cannot be written."""
        from pytest_maxact.record.file import write

        write(self, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Record":
        """Read a Record. Raises InputError with the reason for a file that is missing, truncated, foreign, edited or of
        another version.
        """
        from pytest_maxact.record.file import read

        return read(Path(path))
