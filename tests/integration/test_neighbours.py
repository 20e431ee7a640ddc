"""Beside other people's plugins, conftests and editors: what they read of any item, and where nodes lie."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.gate_runs import CHECKS, run_gate

READS_EVERYTHING = """
    import inspect

    def pytest_collection_modifyitems(items):
        for item in items:
            item.fixturenames.insert(0, "of_another_plugin")
            item.fixturenames.remove("of_another_plugin")
            assert item.module.__name__ and item.function.__name__ and item.obj.__globals__ is not None
            assert item.cls is None and item.originalname and item.funcargs == {}
            assert not inspect.iscoroutinefunction(item.obj) and inspect.getsource(item.function)
            item._initrequest()
            assert item._request.node is item

    def pytest_runtest_setup(item):
        item.obj = lambda: None
    """

TREE = """
    import json
    from pathlib import Path

    def nested(path, root, seen):
        # build_nested_folders of vscode_pytest: from the file up to the session, in at most a hundred steps
        assert path.is_relative_to(root), "the session is moved to a common parent"
        above = path.parent
        for step in range(100):
            if above == root:
                return
            above = above.parent
        raise ValueError("Infinite loop occurred in build_nested_folders")

    def pytest_sessionfinish(session):
        told = []
        for item in session.items:
            path = item.parent.path
            nested(path, session.path, told)
            assert item.path == path and path.is_file()
            told.append("::".join([str(item.path), *item.nodeid.split("::")[1:]]))
        Path("ids.json").write_text(json.dumps([told, [item.name for item in session.items]]))
    """


def listed(pytester: pytest.Pytester) -> tuple[list[str], list[str]]:
    ids, names = json.loads((pytester.path / "ids.json").read_text())
    return ids, names


@pytest.mark.parametrize(("limits", "place"), [("", "pytest.ini"), ("maxact_limits = ci/own.yaml", "ci/own.yaml")])
def test_an_editor_finds_every_check_in_a_file_and_runs_it_by_the_id_that_it_makes_of_that(
    limits: str, place: str, pytester: pytest.Pytester, saved: Path
) -> None:
    (pytester.path / "ci").mkdir()
    own = {"ci/own.yaml": "version: 1\nextends: builtin\n", "test_own.py": "def test_own(): pass"}
    ini = f"[pytest]\nmaxact_replay = {saved}\n{limits}\n"
    run_gate(pytester, "--co", "-q", files={"pytest.ini": ini, "conftest.py": dedent(TREE), **own}, exit=0)
    ids, names = listed(pytester)
    of_gate = [name for name in ids if name.startswith(f"{pytester.path / place}::")]
    assert (len(of_gate), len(set(ids)), len(set(names))) == (CHECKS, CHECKS + 1, CHECKS + 1)
    run_gate(pytester, *of_gate[:3], passed=3, deselected=CHECKS - 3)
    run_gate(pytester, f"{place}::layers.1.hidden", passed=5, deselected=CHECKS - 5)
    run_gate(pytester, "--deselect", f"{place}::embedding::nonfinite", passed=CHECKS, deselected=1)
    run_gate(pytester, f"{place}::layers.9.hidden::max_abs", refuses="no check called maxact::layers.9.hidden::max_abs")


def test_without_a_file_in_the_project_checks_lie_in_the_shipped_limits_and_hooks_are_the_projects(
    pytester: pytest.Pytester, saved: Path
) -> None:
    conftest = """
        def pytest_collection_modifyitems(items):
            assert {item.path.name for item in items} == {"thresholds.yaml"} and all(i.path.is_file() for i in items)

        def pytest_runtest_setup(item):
            print("a hook of the project's")
        """
    run_gate(
        pytester, f"--maxact-replay={saved}", "-s", files={"conftest.py": dedent(conftest)}, passed=CHECKS,
        says=["a hook of the project's"],
    )  # fmt: skip


def test_a_series_keeps_a_part_of_its_own_in_the_ids_of_editors(
    pytester: pytest.Pytester, run: str, corpus: Path
) -> None:
    ini = f"[pytest]\nmaxact_model = {run}\nmaxact_corpus = {corpus}\n"
    run_gate(pytester, "--co", "-q", files={"pytest.ini": ini, "conftest.py": dedent(TREE)}, exit=0)
    ids, names = listed(pytester)
    assert len(ids) == len(set(ids)) == len(set(names)) > 3 * CHECKS
    assert f"{pytester.path}/pytest.ini::checkpoint-10::layers.1.hidden::max_abs" in ids


def test_what_others_read_of_any_item_is_there_and_changing_it_changes_no_verdict(
    pytester: pytest.Pytester, saved: Path, tight: Path
) -> None:
    common = (f"--maxact-replay={saved}", f"--maxact-limits={tight}")
    run_gate(pytester, *common, files={"conftest.py": dedent(READS_EVERYTHING)}, failed=1, passed=CHECKS - 1)


def test_names_hold_site_and_metric(pytester: pytest.Pytester, saved: Path) -> None:
    items, _ = pytester.inline_genitems(f"--maxact-replay={saved}")
    assert [item.name for item in items] == [item.nodeid.removeprefix("maxact::") for item in items]
    assert len({str(item) for item in items}) == CHECKS


SPLIT = """
    import os
    import random
    from pathlib import Path

    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(items):
        # pytest-randomly, by a seed of each job's own
        random.Random(int(os.environ["GROUP"])).shuffle(items)

    class Split:
        # pytest-split, least_duration: sorted by name, that groups be the same in every job, and dealt out
        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(self, config, items):
            ranked = sorted(items, key={"name": str, "nodeid": lambda item: item.nodeid}[os.environ["BY"]])
            mine = ranked[int(os.environ["GROUP"]) :: 3]
            config.hook.pytest_deselected(items=[item for item in items if item not in mine])
            items[:] = [item for item in items if item in mine]

    def pytest_configure(config):
        config.pluginmanager.register(Split())

    def pytest_runtest_call(item):
        with open("ran.txt", "a") as file:
            file.write(item.nodeid + "\\n")
    """


@pytest.mark.parametrize("by", ["name", "nodeid"])
def test_groups_that_are_shuffled_each_in_its_own_order_cover_every_check_once(
    by: str, pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BY", by)
    files = {"conftest.py": dedent(SPLIT), "test_own.py": "def test_one(): pass\ndef test_other(): pass"}
    for group in range(3):
        monkeypatch.setenv("GROUP", str(group))
        told = ["were neither run nor deselected on the command line"]
        run_gate(pytester, f"--maxact-replay={saved}", "test_own.py", files=files, exit=1, says=told)
    ran = (pytester.path / "ran.txt").read_text().split()
    assert len(ran) == len(set(ran)) == CHECKS + 2


@pytest.mark.parametrize("option", ["--setup-plan", "--setup-only"])
def test_where_nothing_is_judged_nothing_is_measured(
    option: str, pytester: pytest.Pytester, checkpoint: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile("def test_own(maxact_record): pass")
    monkeypatch.setattr("pytest_maxact.measure.run.load", lambda *args: pytest.fail("weights were loaded"))
    common = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}")
    run_gate(pytester, *common, option, exit=0, says=[f"none of the {CHECKS} checks was judged: {option}"])
    run_gate(pytester, *common, "-o", f"addopts={option}", refuses=f"{option}, which was not typed")
