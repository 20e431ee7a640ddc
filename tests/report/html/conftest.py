"""One browser, and every kind of page opened in it once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.judge.account import Account
from tests.support.browser import Opened, chromium, opened
from tests.support.pages import CASES, page_of


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Account]:
    """The account that a page of that kind is of, made once."""
    made: dict[str, Account] = {}

    def account(name: str) -> Account:
        if name not in made:
            made[name] = CASES[name].account(tmp_path_factory.mktemp(name))
        return made[name]

    return account


@pytest.fixture(scope="session")
def opening(
    browser: Any, accounts: Callable[[str], Account], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Opened]:
    """A page of that kind, opened once."""
    open_ones: dict[str, Opened] = {}

    def page(name: str) -> Opened:
        if name not in open_ones:
            path: Path = tmp_path_factory.mktemp("pages") / f"{name}.html"
            path.write_text(page_of(accounts(name)), encoding="utf-8")
            open_ones[name] = opened(browser, path)
        return open_ones[name]

    return page


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)
