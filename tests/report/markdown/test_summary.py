"""What summaries and cards say of the interval of a figure: no more than it is."""

from pytest_maxact.report.card.content import block_of
from pytest_maxact.report.markdown.summary import summary
from tests.support.accounts import account_of_all


def test_a_maximum_has_no_interval_of_95_percent() -> None:
    account = account_of_all()
    for text in (summary(account, 1 << 20), block_of(account)):
        (row,) = (line for line in text.splitlines() if "30.5 or more on other text" in line)
        assert "too close to call | value | limit | interval | stands in" in text
        assert "inf" not in row
        assert "95 %" not in "".join(line for line in text.splitlines() if line.startswith("|"))
