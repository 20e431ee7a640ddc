"""A gate on a runner of GitHub's: a summary of the step, annotations on the lines of limits, also where nothing could
be measured; and nothing anywhere else.
"""

import re
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load
from tests.support import tiny
from tests.support.gate_runs import drop_tensor, run_gate
from tests.support.runner import Command, read_command


@pytest.fixture
def summary(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As a runner sets up a step; where its summary goes."""
    place = pytester.path / "summary.md"
    place.write_bytes(b"of a step before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    return place


@pytest.fixture
def limits(pytester: pytest.Pytester, tight: Path) -> Path:
    """In the project, as those of most are."""
    (pytester.path / "gate").mkdir()
    return tight.rename(pytester.path / "gate" / "limits.yaml")


def commands(result: pytest.RunResult) -> list[Command]:
    return [told for line in (*result.outlines, *result.errlines) if (told := read_command(line))]


def test_a_breach_stands_on_the_line_of_its_limit(
    pytester: pytest.Pytester, saved: Path, limits: Path, summary: Path
) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", "--maxact-limits=gate/limits.yaml", exit=1)
    (error,) = [told for told in commands(result) if told.name == "error"]
    assert error.properties["file"] == "gate/limits.yaml"
    assert "layers.1.hidden" in limits.read_text().splitlines()[int(error.properties["line"]) - 1]
    assert error.properties["title"] == "maxact: layers.1.hidden::max_abs"
    assert "exceeds the limit 1;" in error.text
    page = summary.read_text()
    assert page.startswith("of a step before\n\n## maxact: FAIL ")
    assert page.count("\n| `layers.1.hidden::max_abs` | ") == 1
    interval = r"[\d.]+ or more on other text; measured again up to [\d.]+"
    assert re.search(rf"\| at most 1 \| {interval} \| `gate/limits\.yaml:\d+` \| token ", page)
    assert page.index("1 of ") < page.index("| check |") < page.index("| M | **") < page.index("| corpus | ")


def test_one_that_holds_has_a_summary_and_no_error(pytester: pytest.Pytester, saved: Path, summary: Path) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", exit=0)
    assert not [told for told in commands(result) if told.name == "error"]
    assert "## maxact: PASS " in summary.read_text()


def test_what_could_not_be_measured_leaves_both(
    pytester: pytest.Pytester, tmp_path: Path, corpus: Path, summary: Path
) -> None:
    folder = tiny.save(tmp_path / "model", tiny.planted_model("qwen3", layer=1, value=64.0))
    drop_tensor(folder, "layers.1.mlp.down_proj.weight")
    result = run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}", exit=1)
    (error,) = [told for told in commands(result) if told.name == "error"]
    assert (error.properties["title"], "could not measure" in error.text) == ("maxact: no whole verdict", True)
    assert "could not measure" in summary.read_text()


@pytest.mark.parametrize("option", ["--maxact-family=nobody", "--maxact-limits=none.yaml"])
def test_a_request_that_is_wrong_leaves_both(
    option: str, pytester: pytest.Pytester, saved: Path, summary: Path
) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", option, exit=4)
    (error,) = [told for told in commands(result) if told.name == "error"]
    assert error.properties == {"title": "maxact: no verdict"}
    assert summary.read_text().count("## maxact: no verdict") == 1


@pytest.mark.parametrize("option", ["--no-such-option", "--maxact-limitz=l.yaml", "--maxact-family"])
def test_a_command_line_that_is_refused_leaves_both(
    option: str, pytester: pytest.Pytester, saved: Path, summary: Path
) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", option, exit=4)
    (error,) = commands(result)
    assert error.properties == {"title": "maxact: no verdict"}
    assert option.partition("=")[0] in error.text
    assert summary.read_text().count("## maxact: no verdict") == 1


def test_a_command_line_without_a_gate_leaves_none(pytester: pytest.Pytester, summary: Path) -> None:
    result = pytester.runpytest("--no-such-option")
    assert result.ret == 4
    assert not commands(result)
    assert summary.read_bytes() == b"of a step before\n"


def test_a_waiver_at_fault_stands_on_its_line(pytester: pytest.Pytester, saved: Path, summary: Path) -> None:
    text = (
        "version: 1\nextends: builtin\nwaive:\n"
        "  - {site: layers.1.hidden, metric: max_abs, reason: known, owner: me, until: 2020-01-01}\n"
    )
    result = run_gate(pytester, f"--maxact-replay={saved}", "--maxact-limits=l.yaml", files={"l.yaml": text}, exit=1)
    (error,) = [told for told in commands(result) if told.name == "error"]
    assert (error.properties["file"], error.properties["line"]) == ("l.yaml", "4")
    assert "expired" in error.text
    assert "expired" in summary.read_text()


def test_ten_at_most_are_shown_the_worst_first_and_the_rest_is_counted(
    pytester: pytest.Pytester, saved: Path, summary: Path
) -> None:
    text = (
        "version: 1\nextends: builtin\nfamilies:\n  qwen3:\n    layers:\n"
        '      "layers.*": {hidden: 1e-3, attn_output: 1e-6, mlp_output: 1e-9, gate: 1e-2}\n'
    )
    result = run_gate(pytester, f"--maxact-replay={saved}", "--maxact-limits=l.yaml", files={"l.yaml": text}, exit=1)
    errors = [told for told in commands(result) if told.name == "error"]
    failing = summary.read_text().count("\n| `layers.")
    assert failing > 10
    assert len(errors) == 10
    assert errors[-1].text == (
        f"{failing - 9} more of what does not hold: the summary of the step has as many as it has room for,"
        " --maxact-json-report FILE all"
    )
    kinds = [told.properties["title"].split("::")[0].split(".")[-1] for told in errors[:-1]]
    assert kinds == sorted(kinds, key=["mlp_output", "attn_output", "hidden", "gate"].index)


@pytest.mark.parametrize(
    ("environment", "option", "told"),
    [
        ("true", "--maxact-github=off", False), ("", "--maxact-github=auto", False), ("false", "-q", False),
        ("", "--maxact-github=on", True), ("True", "-q", True),
    ],
)  # fmt: skip
def test_it_is_told_where_it_is_asked(
    environment: str,
    option: str,
    told: bool,
    pytester: pytest.Pytester,
    saved: Path,
    tight: Path,
    summary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", environment)
    result = run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", option, exit=1)
    assert bool(commands(result)) is told
    assert ("maxact" in summary.read_text()) is told
    if told:  # limits that lie outside of the project have no line in it
        assert "file" not in commands(result)[0].properties


def test_workers_of_xdist_tell_nothing_of_their_own(
    pytester: pytest.Pytester, saved: Path, limits: Path, summary: Path
) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={limits}", "-n1", exit=1)
    assert len([told for told in commands(result) if told.name == "error"]) == 1
    assert summary.read_text().count("## maxact: FAIL") == 1


def test_a_run_whose_checks_were_all_deselected_warns(pytester: pytest.Pytester, saved: Path, summary: Path) -> None:
    result = run_gate(pytester, f"--maxact-replay={saved}", "-k", "nothing_of_that_name")
    (told,) = commands(result)
    assert (told.name, told.text) == ("warning", "no check was run: nothing is known of the checkpoint")
    assert "## maxact: NONE" in summary.read_text()


@pytest.mark.parametrize(
    ("files", "arguments"),
    [
        ({"conftest.py": "def pytest_sessionstart(session):\n    raise ValueError('broken')\n"}, ()),
        ({"conftest.py": "raise ValueError('broken')\n"}, ()),
        ({"conftest.py": "def pytest_collection_modifyitems(items):\n    raise KeyboardInterrupt\n"}, ()),
        ({"conftest.py": "def pytest_collection_modifyitems(items):\n    items.clear()\n"}, ()),
        ({"test_mine.py": "import nothing_of_that_name\n"}, ()),
        ({}, ("no_such_folder",)),
        ({}, ("-k", "not an (expression")),
    ],
    ids=["start", "conftest", "interrupted", "emptied", "collecting", "folder", "expression"],
)
def test_one_that_ends_before_its_checks_leaves_an_error(
    files: dict[str, str], arguments: tuple[str, ...], pytester: pytest.Pytester, saved: Path, summary: Path
) -> None:
    for name, text in files.items():
        (pytester.path / name).write_text(text)
    result = pytester.runpytest(f"--maxact-replay={saved}", "--maxact-cache=off", *arguments)
    assert result.ret != 0
    assert [told.name for told in commands(result)].count("error") == 1
    assert summary.read_text().count("## maxact: ") == 1


def test_no_output_takes_the_place_of_the_summary(pytester: pytest.Pytester, saved: Path, summary: Path) -> None:
    refuses = "--maxact-card and GITHUB_STEP_SUMMARY both write to"
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-card={summary}", refuses=refuses)
    assert summary.read_text().startswith("of a step before\n")


@pytest.mark.parametrize("full", [True, False])
def test_a_summary_that_cannot_be_written_is_said_and_fails_nothing(
    full: bool, pytester: pytest.Pytester, saved: Path, summary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if full:
        summary.write_bytes(b"x" * ((1 << 20) - 100))
    else:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary / "none"))
    result = run_gate(pytester, f"--maxact-replay={saved}", exit=0)
    assert ("of this step is full" if full else "was not written to") in result.stderr.str()


def test_the_command_tells_likewise(
    saved: Path, limits: Path, summary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", str(saved), "--limits", str(limits), "--json"]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("{")
    (error,) = [told for line in printed.err.splitlines() if (told := read_command(line)) and told.name == "error"]
    assert error.properties["file"] == "gate/limits.yaml"
    assert "## maxact: FAIL" in summary.read_text()
    assert main(["judge", str(saved), "--family", "nobody"]) == 4
    assert "::error title=maxact%3A no verdict::" in capsys.readouterr().err
    assert main(["judge", str(saved), "--family", "nobody", "--github", "off"]) == 4
    assert "::error" not in capsys.readouterr().err


def test_the_command_tells_of_a_command_line_that_is_refused(
    saved: Path, summary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--no-such-option", "--limits"):
        with pytest.raises(SystemExit, match="4"):
            main(["judge", str(saved), option])
        assert "::error title=maxact%3A no verdict::maxact judge: " in (told := capsys.readouterr().err)
        assert option in told.splitlines()[0]
    assert summary.read_text().count("## maxact: no verdict") == 2
    with pytest.raises(SystemExit, match="4"):
        main(["judge", str(saved), "--github", "off", "--no-such-option"])
    assert "::error" not in capsys.readouterr().err


def test_what_is_too_close_is_a_warning_on_its_line_with_its_interval(
    pytester: pytest.Pytester, saved: Path, summary: Path
) -> None:
    bound = load(saved)["layers.0.hidden"].max_abs * 1.00001
    layers = f"    layers:\n      layers.0.hidden: {{hidden: {bound!r}}}\n"
    text = f"version: 1\nextends: builtin\nfamilies:\n  qwen3:\n{layers}"
    result = run_gate(pytester, f"--maxact-replay={saved}", "--maxact-limits=l.yaml", files={"l.yaml": text}, exit=0)
    (warning,) = [told for told in commands(result) if told.name == "warning" and "line" in told.properties]
    assert warning.properties["file"] == "l.yaml"
    assert warning.properties["title"] == "maxact: too close to call, layers.0.hidden::max_abs"
    (line,) = [line for line in summary.read_text().splitlines() if line.startswith("| `layers.0.hidden::max_abs` |")]
    low, high = re.findall(r"[\d.]+", line.split(" | ")[3])
    assert float(low) < bound < float(high)
