"""What is drawn of a series inside of its checkpoints is what each of their Records says."""

import math

from pytest_maxact.judge.figures.low_bits import low_bits_of
from pytest_maxact.judge.figures.training import CHANNELS, training_of
from pytest_maxact.judge.series.trend import Stage
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
