"""Whatever Records were accepted pass the limits that were proposed from them."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.judge.suggest.propose import propose
from tests.support.proposals import OWN, failures, limits_of
from tests.support.records import bf16, record

_magnitudes = st.floats(min_value=2.0**-30, max_value=2.0**30).map(lambda value: float(bf16(value)))
_seen = st.fixed_dictionaries(
    dict.fromkeys(
        ("embedding", "layers.0.hidden", "layers.1.hidden", "layers.0.gate", "layers.1.gate", "final_norm"), _magnitudes
    )
)
_begun = st.sampled_from(
    [
        None,
        "version: 1\nextends: builtin\n",
        OWN,
        OWN.replace("headroom: 1.25\n", ""),
        OWN.replace("extends: builtin\nheadroom: 1.25\n", "headroom: 1.0\n").replace(
            "  qwen3:\n", "  qwen3:\n    model_types: [qwen3]\n"
        ),
        (
            "version: 1\n"
            "extends: builtin\n"
            "families: {qwen3: {shapes: [{name: A, layers: 2, hidden_size: 4, limits: {hidden: 1}}]}}\n"
        ),
    ]
)


@settings(deadline=None, max_examples=60)
@given(st.lists(_seen, min_size=1, max_size=3), _begun, st.booleans())
def test_accepted_records_always_pass_the_file(
    maxima: list[dict[str, float]], begun: str | None, per_layer: bool
) -> None:
    records = [record({name: [[value, value / 4, value / 512]] for name, value in one.items()}) for one in maxima]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        if begun is not None:
            path.write_text(begun)
        propose(records, path, mode="all", per_layer=per_layer, loosen=True).write()
        written = path.read_text()
        assert not propose(records, path, mode="all", per_layer=per_layer).changed
    for one in records:
        assert failures(written, one) == []
        limits = limits_of(written, one)
        for name, reading in one.sites.items():
            figure = limits[f"{name}::max_abs"].figure
            assert figure is not None
            assert reading.max_abs <= figure, "it would pass at headroom 1 too"
