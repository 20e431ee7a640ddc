"""Figures as files: each form is what it says, knows its own kind, and is made without any network."""

import socket
from pathlib import Path
from typing import NoReturn

import pytest

from pytest_maxact.judge.figures.drawn import drawn_of
from pytest_maxact.report.figures.distribution import distribution
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.heat import heat
from pytest_maxact.report.figures.printed import FIGURE, FORMS, Form, printed
from pytest_maxact.report.figures.theme import config_of
from tests.support import records

BEGINS = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<!-- ", "pdf": b"%PDF-"}
DRAWN = drawn_of(records.record(records.CALM))


@pytest.fixture
def unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("a figure went to the network")

    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.mark.usefixtures("unplugged")
@pytest.mark.parametrize("form", FORMS)
def test_a_figure_is_a_file_of_its_form_and_kind(form: Form, tmp_path: Path) -> None:
    ((name, content),) = printed(heat(DRAWN), form)
    assert name == f"heat.{form}"
    assert content.startswith(BEGINS[form])
    assert len(content) > 2000
    (tmp_path / name).write_bytes(content)
    assert FIGURE.is_one(tmp_path / name)
    (tmp_path / "other").write_bytes(BEGINS[form] + bytes(9000))
    assert not FIGURE.is_one(tmp_path / "other")


def test_every_option_of_a_menu_is_a_file() -> None:
    figure = distribution(DRAWN)
    assert isinstance(figure, Figure)
    names = [name for name, _ in printed(figure, "svg")]
    assert names[0] == "distribution-1-layers.1.hidden-carries-M.svg"
    assert len(names) == len(set(names)) == 4


def test_what_would_be_fetched_is_refused() -> None:
    figure = heat(DRAWN)
    spec = {**figure.spec, "layer": [{"data": {"url": "http://127.0.0.1:9/x.json"}, "mark": "point"}]}
    asks = Figure(name="x", title="", caption="", alternative="", spec=spec, rows=())
    with pytest.raises(ValueError, match=r"(?i)url|access|allowed|denied"):
        list(printed(asks, "svg"))


def test_themes_name_no_font_that_is_fetched_and_no_background_on_pages() -> None:
    for theme in ("light", "dark", "print"):
        config = config_of(theme)
        assert "http" not in str(config)
        assert (config["background"] is None) == (theme != "print")
