"""What the metrics of attention are: one channel, one layer, one head against the others."""

from pytest_maxact.judge.explain.entry import EXPORT, METRIC, WAIVE, Entry
from pytest_maxact.record.metrics.metric import Kind

_OF_CACHE = (
    EXPORT,
    ("meant, as in Qwen2", "keep the cache in 16 bits, or see which KV_ schemes hold it, and bound it by `attention:`"),
    WAIVE,
)


def _ratio(name: str, what: str, measured: str, breach: str) -> Entry:
    return Entry(name=name, group=METRIC, what=what, unit="a factor", measured=measured, breach=breach, todo=_OF_CACHE)


ATTENTION_ENTRIES = {
    Kind.CHANNEL_RATIO: _ratio(
        "channel_ratio",
        "How many times the middle channel one channel of keys or values reaches. Of its head, or of its layer,"
        " whichever is the smaller.",
        "largest magnitudes of all channels, over all of the text; channels that are zero throughout do not count",
        "A bias of keys, or a row of a projection, carries one channel of a head: a cache in few bits, or with one"
        " scale for the tensor, has no levels left for the others, while short answers still look right.",
    ),
    Kind.LAYER_RATIO: _ratio(
        "layer_ratio",
        "How many times the middle one of the other layers the queries or keys of a layer reach. By largest entry.",
        "largest entries of all layers, over all of the text",
        "One layer's queries or keys are of another scale: a norm, a bias or a projection was scaled, or is another"
        " model's.",
    ),
    Kind.LOGIT_RATIO: _ratio(
        "logit_ratio",
        "How many times the middle head the largest score of a layer's heads is. Before the softmax, scaled.",
        "the largest score of every head, over all pairs of tokens that may attend to each other",
        "One head looks at single tokens alone, and 16 bits round its scores by more than others differ: queries or"
        " keys were scaled, or training let its scores grow.",
    ),
}
