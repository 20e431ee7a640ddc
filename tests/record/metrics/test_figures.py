"""Figures of integer formats, of a Record and of its summary."""

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.record.metrics.figures import integer_figures
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from tests.support.records import with_values

WHOLE = with_values()
SLIM = summary(WHOLE)
NAME = "layers.1.hidden"


@pytest.mark.parametrize("policy", ["max_abs", "optimal", "clip_q0.999"])
def test_a_summary_tells_what_its_record_did(policy: str) -> None:
    assert integer_figures(SLIM[NAME], policy) == integer_figures(WHOLE[NAME], policy)


def test_a_policy_is_told_as_it_was_asked_for() -> None:
    assert integer_figures(SLIM[NAME], "clip_q.9990").policy == integer_figures(WHOLE[NAME], "clip_q.9990").policy


@pytest.mark.parametrize("record", [WHOLE, SLIM], ids=["whole", "slim"])
def test_what_means_nothing_is_refused_of_either(record: Record) -> None:
    with pytest.raises(ValueError, match="integers have 2 to 16 bits here, not 17"):
        integer_figures(record[NAME], "max_abs", 17)
    with pytest.raises(ValueError, match="no clipping policy called 'other'"):
        integer_figures(record[NAME], "other")


def test_what_a_summary_did_not_keep_is_refused() -> None:
    with pytest.raises(InputError, match=r"the error of int4\.max_abs at layers\.1\.hidden"):
        integer_figures(SLIM[NAME], "max_abs", 4)
