"""The page: an account of a run and its figures in, one HTML file out, with all that it needs in it.

Guards that every name is shown as text: the template escapes all that it is given, and control characters are spelled
out before.
"""

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_maxact.errors import Words, worded
from pytest_maxact.judge.account import Account
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.html.assemble import page_of
from pytest_maxact.report.html.embedded import bundle, drawings_of, policy, script_json, themed
from pytest_maxact.report.libraries import missing

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_MARK = b'<meta name="generator" content="pytest-maxact'
_BEGINNING = 2048
_SPACED = re.compile(r"(?<![\w.,-])(\d{1,3}(?: \d{3}){1,4}(?: [Mx]\b)?|\d[\d.]{0,9} [Mx]\b)(?! ?\d)")
"""A number with spaces in it: between groups of three digits, before what it is counted in."""


def is_page(path: Path) -> bool:
    """Whether a file is a page of this program, by its beginning."""
    try:
        with path.open("rb") as file:
            return _MARK in file.read(_BEGINNING)
    except OSError:
        return False


def render_page(account: Account, figures: Sequence[Figure] = ()) -> str:
    """The whole file. Raises InputError where a library of the extra `report` is missing."""
    environment = _environment(account.words)
    config, colours = themed()
    scripts = [bundle() if figures else "", _own("page.js")]
    page = page_of(account, drawings_of(figures, account.words))
    return environment.get_template("page.html").render(
        page=page,
        version=version("pytest-maxact"),
        policy=policy(scripts),
        scripts=scripts,
        style=_own("page.css"),
        config=script_json(config, account.words),
        colours=colours,
    )


def _own(name: str) -> str:
    return (files("pytest_maxact.report.html") / "templates" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=2)
def _environment(words: Words) -> "Environment":
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise missing("the page takes", "jinja2") from error
    environment = Environment(
        loader=FunctionLoader(_own),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=partial(_shown, words),
    )
    environment.filters["whole"] = partial(_whole, words)
    return environment


def _shown(words: Words, value: Any) -> Any:
    """Text as people are shown it; what is safe already stays as it is."""
    return worded(value, words) if type(value) is str else value


def _whole(words: Words, text: str) -> "Markup":
    """Text of which no number is broken into two lines; each of its characters stays what it is."""
    from markupsafe import Markup, escape

    parts = _SPACED.split(worded(text, words))
    number = Markup('<span class="whole">{}</span>')
    return Markup("").join(number.format(part) if place % 2 else escape(part) for place, part in enumerate(parts))
