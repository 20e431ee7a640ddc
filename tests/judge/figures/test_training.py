"""What is drawn of a series inside of its checkpoints is what each of their Records says."""

import math
from dataclasses import replace

from pytest_maxact.judge.figures.drawn import drawn_of
from pytest_maxact.judge.figures.low_bits import low_bits_of
from pytest_maxact.judge.figures.training import CHANNELS, training_of
from pytest_maxact.judge.series.trend import Stage
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.training import training
from tests.support import records
from tests.support.drawing import model_of

SMALL, LARGE = model_of(2), model_of(4)
STAGES = [Stage(name="a", step=500, record=SMALL), Stage(name="b", step=1000, record=LARGE)]


def test_every_layer_of_every_checkpoint_has_its_maximum() -> None:
    found = {(one.checkpoint, one.site): one.value for one in training_of(STAGES).layers}
    for stage in STAGES:
        for name, reading in stage.record.sites.items():
            if reading.site.kind in ("embedding", "hidden"):
                assert found.pop((stage.name, name)) == reading.max_abs
    assert not found


def test_channels_are_the_largest_of_the_whole_series_with_the_largest_first() -> None:
    found = training_of(STAGES).channels
    assert (found[0].of, found[0].value, found[0].site) == ("7", SMALL["layers.1.hidden"].max_abs, "layers.1.hidden")
    assert (found[1].of, found[1].value, found[1].site) == ("7", LARGE["layers.3.hidden"].max_abs, "layers.3.hidden")
    assert len({one.of for one in found}) <= CHANNELS


def test_schemes_stand_at_their_worst_site_and_integers_where_m_is() -> None:
    (found,) = [one for one in training_of(STAGES).schemes if one.checkpoint == "b"]
    (row,) = [
        row for row in low_bits_of(LARGE) if row.site == LARGE.carrier.site.name and row.scheme == "INT-8 max_abs"
    ]
    assert (found.value, found.site) == (row.sqnr_db, row.site)


def test_what_is_not_finite_is_no_number() -> None:
    broken = records.record({"embedding": [[1.0]], "layers.0.hidden": [[math.inf]], "final_norm": [[1.0]]})
    found = training_of([*STAGES, Stage(name="c", step=1500, record=broken)])
    assert [one.value for one in found.layers if one.checkpoint == "c"] == [1.0, math.inf]
    assert [math.isnan(one.value) for one in found.schemes if one.checkpoint == "c"] == [True]


def test_what_only_some_checkpoints_tell_is_told_with_their_names() -> None:
    """A channel that enters the largest entries late does not go from there on since the first checkpoint."""
    peaks = SMALL["layers.1.hidden"].peaks
    other = replace(SMALL["layers.1.hidden"], peaks=(replace(peaks[0], channel=99, value=5000.0), *peaks[1:]))
    late = replace(SMALL, sites={**SMALL.sites, "layers.1.hidden": other})
    lone, both = (
        [Stage(name=name, step=place, record=record) for place, (name, record) in enumerate(given)]
        for given in ((("a", SMALL), ("b", late), ("c", SMALL)), (("a", SMALL), ("b", late), ("c", late)))
    )
    for stages, words in ((lone, "channel 99 5000 at b alone"), (both, "channel 99 from 5000 at b to 5000")):
        (figure,) = [one for one in training(drawn_of(SMALL, stages=stages)) if one.name == "series_channels"]
        assert isinstance(figure, Figure)
        assert words in figure.alternative
