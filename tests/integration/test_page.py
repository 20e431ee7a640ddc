"""`--maxact-html`: a run leaves a page of what it found, also where it fails or cannot measure."""

from pathlib import Path

import pytest

from pytest_maxact.report.html.page import is_page
from tests.support.gate_runs import run_gate

HTML = "--maxact-html=page.html"


def test_a_breach_stands_on_the_page_of_its_run(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", HTML, exit=1)
    page = (pytester.path / "page.html").read_text()
    assert '<section class="verdict bad"' in page
    assert "layers.1.hidden max_abs" in page
    assert "tight.yaml:6" in page
    assert page.count('class="chart"') > 3


def test_a_request_that_is_wrong_leaves_a_page_that_is_no_pass(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-family=nobody", HTML, exit=4)
    page = (pytester.path / "page.html").read_text()
    assert "NOT CHECKED" in page
    assert 'class="verdict good"' not in page


def test_a_file_of_the_users_is_no_place_for_it(pytester: pytest.Pytester, saved: Path) -> None:
    own = pytester.path / "page.html"
    own.write_text("<p>mine")
    run_gate(pytester, f"--maxact-replay={saved}", HTML, refuses="there is a file of another kind")
    assert own.read_text() == "<p>mine"
    assert not is_page(own)
