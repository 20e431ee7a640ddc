"""The gate in a project's configuration, whichever file and format it has: every option in its natural type, and what
nobody would read is a usage error.
"""

from pathlib import Path

import pytest

from tests.support.gate_runs import CHECKS, run_gate

WAYS = {
    "pytest.ini": "[pytest]\nmaxact_modle = x",
    "tox.ini": "[pytest]\nmaxact_modle = x",
    "setup.cfg": "[tool:pytest]\nmaxact_modle = x",
    "pyproject.toml": '[tool.pytest.ini_options]\nmaxact_modle = "x"',
}
NATIVE = pytest.mark.skipif(int(pytest.__version__.split(".")[0]) < 9, reason="TOML of its own came with pytest 9")


@pytest.mark.parametrize("file", WAYS)
def test_a_misspelt_key_does_not_switch_the_gate_off(file: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    words = f"{file}:2: the gate has no key called maxact_modle; did you mean maxact_model?"
    run_gate(pytester, files={file: WAYS[file]}, refuses=words)


@NATIVE
@pytest.mark.parametrize(("file", "table"), [("pyproject.toml", "tool.pytest"), ("pytest.toml", "pytest")])
def test_a_misspelt_key_of_native_toml_neither(file: str, table: str, pytester: pytest.Pytester) -> None:
    words = f"{file}:2: the gate has no key called maxact-model; did you mean maxact_model?"
    run_gate(pytester, files={file: f'[{table}]\n"maxact-model" = "x"'}, refuses=words)


@pytest.mark.parametrize("options", [["-o", "maxact_modle=x"], ["--override-ini=maxact_modle=x"]])
def test_a_misspelt_override_neither(options: list[str], pytester: pytest.Pytester) -> None:
    run_gate(pytester, *options, refuses="-o: the gate has no key called maxact_modle; did you mean maxact_model?")


def test_a_key_of_another_plugin_is_left_to_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    pytester.makeconftest(
        'def pytest_addoption(parser): parser.addini("maxact_extra", "of a plugin that builds on it")'
    )
    run_gate(pytester, files={"pytest.ini": "[pytest]\nmaxact_extra = 3\nmax_active = 4"}, exit=0, passed=1)


@pytest.mark.parametrize(
    "options",
    [["--maxact-modle=x"], ["--max-act-model", "x"], ["--maxact_model=x"], ["-maxact-model", "x"], ["-maxact-model=x"]],
)
def test_a_misspelt_option_is_told_with_the_one_that_was_meant(options: list[str], pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    name = options[0].split("=")[0]
    run_gate(pytester, *options, refuses=f"the gate has no option {name}; did you mean --maxact-model?")


def test_options_of_a_conftest_are_known(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    pytester.makeconftest('def pytest_addoption(parser): parser.addoption("--maxact-extra")')
    run_gate(pytester, "--maxact-extra=3", exit=0, passed=1)


def test_a_list_in_the_ini_table_is_a_list_of_baselines(pytester: pytest.Pytester, saved: Path) -> None:
    file = f'[tool.pytest.ini_options]\nmaxact_replay = "{saved}"\nmaxact_baseline = ["{saved}"]\nmaxact_strict = false'
    result = run_gate(pytester, files={"pyproject.toml": file}, exit=0)
    assert result.parseoutcomes()["passed"] > CHECKS


@NATIVE
def test_native_toml_takes_lists_numbers_and_booleans(pytester: pytest.Pytester, saved: Path) -> None:
    file = f'[tool.pytest]\nmaxact_replay = "{saved}"\nmaxact_baseline = ["{saved}"]\n'
    file += 'maxact_strict = false\nmaxact_max_samples = 4\nmaxact_schemes = ["W8A8", "FP8"]'
    result = run_gate(pytester, files={"pyproject.toml": file}, exit=0)
    assert result.parseoutcomes()["passed"] > CHECKS


@NATIVE
def test_a_type_that_an_option_does_not_take_is_a_usage_error(pytester: pytest.Pytester) -> None:
    file = '[tool.pytest]\nmaxact_model = "x"\nmaxact_max_samples = true'
    words = "pyproject.toml:3: maxact_max_samples is true, and takes a whole number"
    run_gate(pytester, files={"pyproject.toml": file}, refuses=words)


def test_a_list_where_one_is_taken_is_a_usage_error(pytester: pytest.Pytester) -> None:
    file = '[tool.pytest.ini_options]\nmaxact_model = ["x"]'
    run_gate(pytester, files={"pyproject.toml": file}, refuses='pyproject.toml:2: maxact_model is ["x"], and takes one')
