"""The ready-made tests of a checkpoint: below the node `maxact`, in a series below `maxact::checkpoint-500` for each, a
node per site, below that one item per limit, `maxact::layers.12.hidden::max_abs`; and below `maxact::waive` one per
waiver. What an item is called is what its id says after `maxact`, so no two have one name.

Custom items take no fixtures of the user's, and a check takes no skip and no xfail mark: a conftest that skips whatever
it does not know must not turn the gate green. Who wants fewer checks deselects them, which the report says. What was
found of an item goes into the ledger before pytest hears of it.
"""

import os
from collections.abc import Iterator, Sequence

import pytest

from pytest_maxact.errors import name_in_id, one_line
from pytest_maxact.gate.ledger import Found
from pytest_maxact.gate.subject import Subject
from pytest_maxact.gate.waivers import waiver_fault
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.plugin.fixtures import session_key
from pytest_maxact.plugin.ids import name_of
from pytest_maxact.plugin.nodes import GateItem, GateNode
from pytest_maxact.plugin.progress import shown_by
from pytest_maxact.plugin.tensors import found_of, report_tensors
from pytest_maxact.plugin.typed import typed
from pytest_maxact.report.data.properties import with_properties


class Gate(GateNode):
    """Every check of one checkpoint."""

    def __init__(self, *, subject: Subject, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.subject = subject
        if subject.name:
            self.extra_keyword_matches.add(f"maxact[{subject.name}]")

    def collect(self) -> Iterator["SiteChecks"]:
        by_site: dict[str, list[Limit]] = {}
        for limit in self.subject.rules.limits:
            by_site.setdefault(limit.site, []).append(limit)
        for site, limits in by_site.items():
            yield SiteChecks.from_parent(self, name=name_in_id(site), subject=self.subject, limits=limits)


class SiteChecks(GateNode):
    """The checks of one site."""

    def __init__(self, *, subject: Subject, limits: Sequence[Limit], **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self._subject, self._limits = subject, limits

    def collect(self) -> Iterator["Check"]:
        for limit in self._limits:
            # pytest 9.2 parses `[...]` at the end of an id; one put together from a parent's and a name is not equal to
            # the parsed one
            nodeid = f"{self._subject.node}::{limit.check}"
            yield Check.from_parent(self, name=name_of(nodeid), nodeid=nodeid, subject=self._subject, limit=limit)


class Check(GateItem):
    """One limit against the Record, and the baseline where it is relative to one.

    Its setup makes or loads the Record; where that cannot be done, every check is an error.
    """

    def __init__(self, *, subject: Subject, limit: Limit, **kwargs: object) -> None:
        self.subject, self.limit = subject, limit
        super().__init__(**kwargs)
        self.user_properties = with_properties([], limit)

    def setup(self) -> None:
        if typed(self.config).looks:
            return
        with self.noting_failure("could not measure: "):
            self.config.stash[session_key].records.obtain(self.subject.source, shown_by(self.config, self.subject.name))

    def runtest(self) -> None:
        with self.noting_failure():
            finding = self.config.stash[session_key].judging.check(
                self.subject, self.limit, shown_by(self.config, self.limit.against)
            )
        self.note(found_of(finding), finding.message)
        self.user_properties = with_properties(self.user_properties, self.limit, finding)
        judging = self.config.stash[session_key].judging
        report_tensors(self, self.subject.node, judging.tensors(self.subject, self.limit))
        if finding.waiver:
            pytest.xfail(f"{finding.waiver.words}; {finding.message}")
        if not finding.passed:
            pytest.fail(finding.message, pytrace=False)
        if finding.close:
            self.add_report_section("call", "maxact: too close to call", f"WARNING: {finding.message}\n")

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """The line of the limit, so that annotations land on it."""
        of = f" of {self.subject.name}" if self.subject.name else ""
        what = f"{self.limit.name} of {self.limit.site}{of}"
        return self.limit.file, self.limit.line - 1, one_line(what)


class Waivers(GateNode):
    """Whether the waivers of the limits files still do their work."""

    def collect(self) -> Iterator["WaiverNode"]:
        yield WaiverNode.from_parent(self, name="waive")


class WaiverNode(GateNode):
    """One level more, as every other item has: `--lf` looks for them there."""

    def collect(self) -> Iterator["WaiverCheck"]:
        plan = self.config.stash[session_key].plan
        for waiver in plan.waivers:
            nodeid = plan.waiver_id(waiver)
            yield WaiverCheck.from_parent(self, name=name_of(nodeid), nodeid=nodeid, waiver=waiver)


class WaiverCheck(GateItem):
    """One waiver, which fails where it expired or is stale."""

    def __init__(self, *, waiver: Waiver, **kwargs: object) -> None:
        self.waiver = waiver
        super().__init__(**kwargs)

    def runtest(self) -> None:
        session = self.config.stash[session_key]
        with self.noting_failure("could not measure: "):
            fault = waiver_fault(session.plan, session.judging, self.waiver, shown_by(self.config))
        self.note(Found.BREACH if fault else Found.HELD, fault or "")
        if fault:
            pytest.fail(fault, pytrace=False)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """The line of the waiver."""
        return self.waiver.file, self.waiver.line - 1, one_line(f"waiver for {self.waiver.site}")
