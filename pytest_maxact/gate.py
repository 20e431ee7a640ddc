"""The ready-made tests: a collector called `maxact`, below it one per site, below that one item per limit, `maxact::layers.12.hidden::max_abs`.

Custom items take no fixtures of the user's, and a check takes no skip mark: a conftest that skips whatever it does not know must not turn
the gate green. Who wants fewer checks deselects them, which the report says.
"""

import os
from collections.abc import Iterator, Sequence

import pytest

from pytest_maxact.errors import MaxactError
from pytest_maxact.fixtures import session_key
from pytest_maxact.limits import Limit
from pytest_maxact.report.progress import showing


class Gate(pytest.Collector):
    """Every check of the run. Its setup makes or loads the Record; where that cannot be done, every check is an error."""

    def collect(self) -> Iterator["SiteChecks"]:
        by_site: dict[str, list[Limit]] = {}
        for limit in self.config.stash[session_key].rules.limits:
            by_site.setdefault(limit.site, []).append(limit)
        for site, limits in by_site.items():
            yield SiteChecks.from_parent(self, name=site, limits=limits)

    def setup(self) -> None:
        try:
            self.config.stash[session_key].record(lambda: showing(self.config))
        except MaxactError as error:
            pytest.fail(f"could not measure: {error}", pytrace=False)


class SiteChecks(pytest.Collector):
    """The checks of one site."""

    def __init__(self, *, limits: Sequence[Limit], **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self._limits = limits

    def collect(self) -> Iterator["Check"]:
        for limit in self._limits:
            yield Check.from_parent(self, name=limit.metric, limit=limit)


class Check(pytest.Item):
    """One limit against the Record."""

    def __init__(self, *, limit: Limit, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.limit = limit
        self.add_marker("maxact")

    def add_marker(self, marker: str | pytest.MarkDecorator, append: bool = True) -> None:
        """As of any item, but for `skip` and `skipif`."""
        if (marker if isinstance(marker, str) else marker.name) not in ("skip", "skipif"):
            super().add_marker(marker, append)

    def runtest(self) -> None:
        try:
            finding = self.config.stash[session_key].check(self.limit)
        except MaxactError as error:
            pytest.fail(str(error), pytrace=False)
        limit = self.limit
        self.user_properties += [
            ("maxact.site", finding.site),
            ("maxact.metric", limit.metric),
            ("maxact.value", finding.value),
            ("maxact.limit", limit.bound),
            ("maxact.rule", limit.rule),
            ("maxact.source", limit.source),
        ]
        if not finding.passed:
            pytest.fail(finding.message, pytrace=False)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """The line of the limit, so that annotations land on it."""
        return self.limit.file, self.limit.line - 1, f"{self.limit.metric} of {self.limit.site}"
