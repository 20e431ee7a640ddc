"""What users' own tests ask for. Without --maxact-model or --maxact-replay these fixtures skip: no gate was asked for.

In a series a test that asks for them runs once per checkpoint: `test_calm[checkpoint-500]`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.judge.limits.limit import Limit
    from pytest_maxact.judge.limits.rules import Ruleset
    from pytest_maxact.judge.trust.intervals import Intervals
    from pytest_maxact.judge.verdict.finding import Finding
    from pytest_maxact.record.record import Record

session_key = pytest.StashKey["GateSession"]()
later_key = pytest.StashKey[Callable[[], None]]()
"""Of a run that names its tests: what opens the gate, once one of them asks for it."""
parser_key = pytest.StashKey[pytest.Parser]()
"""Of the command line, to tell what was typed."""


def gate_of(config: pytest.Config) -> "GateSession | None":
    """The gate of this run, opened where it was left for later; None where none was asked for. Raises InputError."""
    if session_key not in config.stash and later_key in config.stash:
        config.stash[later_key]()
    return config.stash.get(session_key, None)


@pytest.fixture(scope="session")
def maxact_checkpoint(request: pytest.FixtureRequest) -> str:
    """The name of the checkpoint of a series that this test is about; empty where there is only one."""
    return str(getattr(request, "param", ""))


@pytest.fixture(scope="session")
def maxact_record(request: pytest.FixtureRequest, maxact_checkpoint: str) -> "Record":
    """The Record of the run: `maxact_record["layers.3.hidden"].max_abs`. Measures on first use; the gate's checks share
    it.
    """
    from pytest_maxact.errors import MaxactError
    from pytest_maxact.plugin.progress import shown_by

    try:
        session = gate_of(request.config)
        if session is None:
            pytest.skip("needs --maxact-model or --maxact-replay")
        if request.config.getoption("setuponly", False):
            pytest.skip("nothing is measured where no test is to run")
        source = session.plan.subject(maxact_checkpoint).source
        return session.records.obtain(source, shown_by(request.config, maxact_checkpoint))
    except MaxactError as error:
        pytest.fail(error.worded(pytest_option), pytrace=False)


class Checker:
    """Asserts one figure, with the gate's own message."""

    def __init__(self, rules: "Ruleset", record: "Record", close: str) -> None:
        self._rules, self._record, self._close = rules, record, close
        self._intervals: Intervals | None = None

    def __call__(
        self, site: str, metric: str = "max_abs", *, at_most: float | None = None, at_least: float | None = None
    ) -> "Finding":
        """Check `metric` of `site` ("carrier": the site of M; "model": all of it) against the run's limit for it, or
        against the bound given.

        Fails the test where it does not hold, and where there is neither a limit nor a bound, or no such site or
        metric.
        """
        from pytest_maxact.errors import MaxactError
        from pytest_maxact.judge.limits.limit import CARRIER, MODEL
        from pytest_maxact.judge.limits.weights import is_of_weights
        from pytest_maxact.judge.trust.intervals import Intervals
        from pytest_maxact.judge.verdict.check import check, check_bound
        from pytest_maxact.judge.verdict.close import with_interval

        if at_most is not None and at_least is not None:
            pytest.fail("maxact_check takes at_most or at_least, not both", pytrace=False)
        if site not in (CARRIER, MODEL) and not is_of_weights(site) and site not in self._record.sites:
            try:
                self._record[site]
            except KeyError as error:
                pytest.fail(str(error.args[0]), pytrace=False)
        problem = ""
        try:
            if at_most is not None:
                finding = check_bound(self._record, site, metric, at_most, "max")
            elif at_least is not None:
                finding = check_bound(self._record, site, metric, at_least, "min")
            else:
                finding = check(self._record, self._stated(site, metric))
            self._intervals = self._intervals or Intervals(self._record)
            finding = with_interval(finding, self._intervals, close=self._close)
        except MaxactError as error:
            problem = error.worded(pytest_option)
        if problem:
            pytest.fail(problem, pytrace=False)
        if not finding.passed:
            pytest.fail(finding.message, pytrace=False)
        return finding

    def _stated(self, site: str, metric: str) -> "Limit":
        """The run's own limit; fails the test where there is none."""
        for limit in self._rules.limits:
            if (limit.site, limit.metric.name) == (site, metric):
                return limit
        pytest.fail(
            f"no limit for {metric} of {site} in family {self._rules.family}; give at_most= or at_least=", pytrace=False
        )


@pytest.fixture(scope="session")
def maxact_check(request: pytest.FixtureRequest, maxact_checkpoint: str, maxact_record: "Record") -> Checker:
    """`maxact_check("layers.3.hidden")` asserts the gate's limit, `maxact_check(site, metric, at_most=...)` a bound of
    your own.
    """
    session = request.config.stash[session_key]
    return Checker(session.plan.subject(maxact_checkpoint).rules, maxact_record, session.settings.close)
