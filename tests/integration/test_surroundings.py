"""A conftest, an ini file or another plugin cannot turn the gate off: a run that asked for it, and in which a check was
neither judged nor left out on the command line, does not exit 0; exit status, report and JUnit agree.
"""

import xml.etree.ElementTree as ET
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.support.gate_runs import CHECKS, run_gate

JUNIT = "--junitxml=out.xml"
NOT_RUN = f"{CHECKS} checks were neither run nor deselected on the command line"


def failures(pytester: pytest.Pytester) -> int:
    """Test cases of JUnit's file that failed."""
    cases = ET.parse(pytester.path / "out.xml").getroot().iter("testcase")
    return sum(case.find("failure") is not None or case.find("error") is not None for case in cases)


KEPT_FROM_RUNNING = {
    "swallowed": """
        def pytest_collection_modifyitems(items):
            items[:] = [item for item in items if isinstance(item, pytest.Function)]
        """,
    "deselected by a plugin": """
        def pytest_collection_modifyitems(config, items):
            config.hook.pytest_deselected(items=items[:])
            items[:] = []
        """,
    "not collected": """
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_make_collect_report(collector):
            report = yield
            if isinstance(collector, pytest.Session):
                report.result = []
            return report
        """,
    "skipped in a hook": """
        def pytest_runtest_setup(item):
            pytest.skip("slow")
        """,
    "skipped at the call": """
        def pytest_runtest_call(item):
            pytest.skip("slow")
        """,
    "expected to fail in a hook": """
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_call(item):
            pytest.xfail("known")
        """,
    "a protocol of its own": """
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item):
            return True
        """,
    "a loop of its own": """
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(session):
            return True
        """,
    "a run of its own": """
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_call(item):
            item.runtest = lambda: None
        """,
    "an exit": """
        def pytest_runtest_setup(item):
            pytest.exit("enough", returncode=0)
        """,
    "another expression": """
        def pytest_configure(config):
            config.option.markexpr = "unit"
        """,
}


@pytest.mark.parametrize("how", KEPT_FROM_RUNNING)
def test_checks_that_a_conftest_keeps_from_running_fail_the_run(
    how: str, pytester: pytest.Pytester, saved: Path
) -> None:
    pytester.makeconftest("import pytest\n" + KEPT_FROM_RUNNING[how].replace("\n        ", "\n"))
    result = run_gate(pytester, f"--maxact-replay={saved}", JUNIT, exit=1, says=[NOT_RUN], lacks=["PASS"])
    result.stdout.fnmatch_lines([f"maxact: none of the {CHECKS} checks of * was run"])
    if how != "an exit":
        assert failures(pytester) > 0


@pytest.mark.parametrize("how", ["swallowed", "skipped in a hook", "deselected by a plugin"])
def test_under_xdist_too(how: str, pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makepyfile("def test_own(): pass")
    pytester.makeconftest(
        "import pytest\n" + KEPT_FROM_RUNNING[how].replace("\n        ", "\n").replace("= []", "= items[-1:]")
    )
    options = (f"--maxact-replay={saved}", "-n", "2", JUNIT)
    run_gate(pytester, *options, subprocess=True, exit=1, says=["were neither run nor deselected"], lacks=["PASS"])
    assert failures(pytester) > 0


def test_without_a_terminal_too(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeconftest("def pytest_collection_modifyitems(items): items[:] = []")
    run_gate(pytester, f"--maxact-replay={saved}", "-p", "no:terminal", exit=1)


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        ("item.own_markers.append(pytest.mark.{mark}.mark)", "skip(reason='no')"),
        ("item.add_marker(pytest.mark.{mark})", "skipif(True, reason='no')"),
        ("item.session.add_marker(pytest.mark.{mark})", "skip(reason='no')"),
        ("item.session.add_marker(pytest.mark.{mark})", "xfail"),
        ("item.parent.own_markers.append(pytest.mark.{mark}.mark)", "xfail(run=False)"),
    ],
)
def test_a_check_is_deaf_to_marks_wherever_they_stand(
    mark: str, name: str, pytester: pytest.Pytester, saved: Path, tight: Path
) -> None:
    pytester.makeconftest(f"""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                {mark.format(mark=name)}
        """)
    options = (f"--maxact-replay={saved}", f"--maxact-limits={tight}")
    run_gate(pytester, *options, exit=1, failed=1, passed=CHECKS - 1, says=[f"FAIL: 1 of {CHECKS} checks"])


CHANGED = {
    "outcome": "report.outcome = 'passed'",
    "expected": "report.outcome, report.wasxfail = 'skipped', 'known'",
    "skipped": "report.outcome, report.longrepr = 'skipped', ('conftest.py', 1, 'no')",
    "another": "report = pytest.TestReport(report.nodeid, report.location, {}, 'passed', None, report.when)",
}


@pytest.mark.parametrize(
    ("how", "order", "options"),
    [
        *((how, "wrapper=True", ()) for how in CHANGED),
        ("outcome", "wrapper=True, tryfirst=True", ()),
        ("outcome", "wrapper=True", ("-n", "2")),
    ],
)
def test_a_failure_that_is_made_a_pass_is_put_right_and_said(
    how: str, order: str, options: tuple[str, ...], pytester: pytest.Pytester, saved: Path, tight: Path
) -> None:
    pytester.makeconftest(f"""
        import pytest

        @pytest.hookimpl({order})
        def pytest_runtest_makereport(item):
            report = yield
            if report.failed:
                {CHANGED[how]}
            return report
        """)
    common = (f"--maxact-replay={saved}", f"--maxact-limits={tight}", JUNIT, *options)
    said = [
        f"FAIL: 1 of {CHECKS} checks does not hold",
        "1 report of a check was changed by something outside of the gate, the first said",
        "of maxact::layers.1.hidden::max_abs; what the gate found stands",
    ]
    run_gate(pytester, *common, exit=1, failed=1, passed=CHECKS - 1, says=said, subprocess=bool(options))
    assert failures(pytester) == 2, "the check, and what became of its report"


@pytest.mark.parametrize(("order", "told"), [("tryfirst=True", 2), ("", 1)])
def test_a_report_that_is_changed_where_it_is_logged_is_put_right(
    order: str, told: int, pytester: pytest.Pytester, saved: Path, tight: Path
) -> None:
    pytester.makeconftest(f"""
        import pytest

        @pytest.hookimpl({order})
        def pytest_runtest_logreport(report):
            report.outcome = "passed"
        """)
    run_gate(
        pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", JUNIT, exit=1, failed=1, passed=CHECKS - 1
    )
    assert failures(pytester) == told


@pytest.mark.parametrize(
    "body",
    [
        "def pytest_sessionfinish(session): session.exitstatus = 0",
        "@pytest.hookimpl(wrapper=True, tryfirst=True)\ndef pytest_sessionfinish(session):\n    yield\n"
        "    session.exitstatus = 0",
        "def pytest_sessionfinish(session): session.testsfailed = 0; pytest.exit('done', returncode=0)",
        "def pytest_sessionstart(session): pytest.exit('done', returncode=0)",
        "def pytest_collection(session): pytest.exit('done', returncode=0)",
        "def pytest_cmdline_main(config): return 0",
        "@pytest.hookimpl(trylast=True)\ndef pytest_configure(config):\n"
        "    config.pluginmanager.unregister(name='maxact')",
        "@pytest.hookimpl(wrapper=True, tryfirst=True)\ndef pytest_runtestloop(session):\n    yield\n"
        "    session.testsfailed = 0",
    ],
)
def test_an_exit_status_that_a_conftest_sets_does_not_make_a_breach_pass(
    body: str, pytester: pytest.Pytester, saved: Path, tight: Path
) -> None:
    pytester.makeconftest("import pytest\n" + body)
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", exit=1, lacks=["PASS"])


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("ini", "-m unit"),
        ("ini", "-k unit"),
        ("ini", "--deselect=maxact"),
        ("ini", "maxact::embedding::max_abs"),
        ("environment", "-m 'not maxact'"),
    ],
)
def test_what_stands_in_addopts_is_not_the_users_choice(
    options: str, place: str, pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "ini":
        pytester.makeini(f"[pytest]\naddopts = {options}")
    else:
        monkeypatch.setenv("PYTEST_ADDOPTS", options)
    run_gate(pytester, f"--maxact-replay={saved}", exit=1, says=["neither run nor deselected"], lacks=["PASS"])


@pytest.mark.parametrize("option", ["--co", "--fixtures", "--markers", "--help"])
def test_an_option_with_which_nothing_runs_is_the_users_only_where_it_is_typed(
    option: str, pytester: pytest.Pytester, saved: Path
) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", option, exit=0)
    pytester.makeini(f"[pytest]\naddopts = {option}\nmaxact_replay = {saved}")
    run_gate(pytester, refuses="which was not typed, lets no check run")


@pytest.mark.parametrize(
    ("options", "ran"),
    [
        (("-k", "embedding"), 4),
        (("-k", "nothing"), 0),
        (("-m", "not maxact"), 0),
        (("--deselect", "maxact::embedding"), CHECKS - 4),
        (("--deselect=maxact::embedding::nonfinite",), CHECKS - 1),
        (("maxact::embedding",), 4),
        (("maxact::embedding", "-k", "nonfinite"), 1),
        (("-k", "layers.1", "--deselect", "maxact::layers.1.hidden"), 11),
    ],
)
def test_what_is_typed_is_the_users_choice(
    options: tuple[str, ...], ran: int, pytester: pytest.Pytester, saved: Path
) -> None:
    pytester.makepyfile("def test_own_of_nothing(): pass")
    own = int(not options[0].startswith("-k") or "nothing" in options)
    result = run_gate(pytester, f"--maxact-replay={saved}", *options, exit=0, lacks=["FAIL", "neither run"])
    assert result.parseoutcomes()["passed"] in (ran, ran + own)
    if ran:
        held = f"all {ran} checks that ran hold" if ran > 1 else "the one check that ran holds"
        result.stdout.fnmatch_lines([f"*{held}", f"not run: {CHECKS - ran} check*"])


def test_a_choice_of_the_users_excuses_no_more_than_it_names(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeconftest("""
        def pytest_collection_modifyitems(items):
            items[:] = [item for item in items if "max_abs" not in item.name]
        """)
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "-k",
        "embedding",
        exit=1,
        says=["2 checks were neither run nor deselected on the command line, the first maxact::embedding::max_abs"],
    )


def test_a_mark_that_a_conftest_gives_may_be_deselected_by(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeconftest("""
        import pytest

        def pytest_configure(config):
            config.addinivalue_line("markers", "slow: takes long")

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker("slow")
        """)
    pytester.makepyfile("def test_own(): pass")
    run_gate(pytester, f"--maxact-replay={saved}", "-m", "not slow", exit=5, deselected=CHECKS + 1)


def test_a_run_that_stopped_at_a_failure_of_another_says_what_it_left(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makepyfile("def test_own(): assert False")
    says = [f"{CHECKS} checks were not run: stopping after 1 failures"]
    run_gate(pytester, f"--maxact-replay={saved}", "-x", exit=1, failed=1, says=says, lacks=["PASS"])


def test_waived_checks_that_pytest_is_told_to_run_as_failures_fail(pytester: pytest.Pytester, saved: Path) -> None:
    until = date.today() + timedelta(days=30)
    limits = f"""version: 1
extends: builtin
families: {{qwen3: {{layers: {{layers.1.hidden: {{hidden: 1.0}}}}}}}}
waive:
  - {{site: layers.1.hidden, metric: max_abs, reason: known, owner: me, until: {until}}}
"""
    (pytester.path / "limits.yaml").write_text(limits)
    options = (f"--maxact-replay={saved}", "--maxact-limits=limits.yaml")
    run_gate(pytester, *options, exit=0, says=["1 is waived"])
    says = [
        f"FAIL: 1 of {CHECKS} checks do",
        "no waiver applied (--runxfail)",
        "its waiver is not applied, by --runxfail",
    ]
    lacks = ["PASS", "outside of the gate", "waived until"]
    run_gate(pytester, *options, "--runxfail", exit=1, failed=1, passed=CHECKS, says=says, lacks=lacks)
