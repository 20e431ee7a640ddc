"""Intervals of what an artifact departs from its source by: of too few samples none is told, wherever it stands."""

import math
from dataclasses import replace

import pytest

from pytest_maxact.judge.figures.drawn import drawn_of
from pytest_maxact.judge.trust.departed import believed
from pytest_maxact.record.record import Record
from pytest_maxact.report.figures.artifact import predictions
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.html.assemble import page_of
from tests.support import against
from tests.support.pages import told


def of_samples(samples: int) -> Record:
    found = replace(against.departure(tokens=40), samples=samples)
    ends = replace(found.figures["mean_kl"], low=0.005, high=0.02)
    bins = tuple(replace(one, mean_kl=ends, top1_agreement=ends) for one in found.confidence)
    return against.holding(predictions=replace(found, figures={**found.figures, "mean_kl": ends}, confidence=bins))


@pytest.mark.parametrize(("samples", "is_told"), [(19, False), (20, True)])
def test_an_interval_of_too_few_samples_is_told_nowhere(samples: int, is_told: bool) -> None:
    record = of_samples(samples)
    assert record.source
    figure = predictions(drawn_of(record))
    assert isinstance(figure, Figure)
    assert {row["low"] is not None for row in figure.rows} == {is_told}
    tables = {table.name: table for section in page_of(told(record), ()).sections for table in section.tables}
    (row,) = [row for row in tables["source-1"].rows if row.cells[0].text == "KL from the source"]
    assert row.cells[2].text == ("0.005 to 0.02" if is_told else "-")
    message = against.judged(record)["predictions::source_mean_kl"].message
    assert ("(95 % 0.005 to 0.02)" in message) is is_told
    kept = believed(record.source).predictions
    assert kept
    assert math.isnan(kept.confidence[0].mean_kl.high) is not is_told
    assert [one.value for one in kept.figures.values()] == [
        one.value
        for one in record.source.predictions.figures.values()  # type: ignore[union-attr]
    ]
