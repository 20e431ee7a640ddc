"""What the metrics of an artifact against its source are: an entry of each."""

from collections.abc import Mapping

from pytest_maxact.errors import setting
from pytest_maxact.judge.explain.entry import EXPORT, METRIC, WAIVE, Entry
from pytest_maxact.record.metrics.metric import Kind

_ASKED = f"only with {setting('source')}"
_SEARCH = (
    "another checkpoint",
    "see that the source is the one it was made from, to the training step",
)
_BITS = ("too few bits", "quantize fewer layers, in smaller groups or in more bits")


def _weight(kind: Kind, what: str, unit: str, measured: str, breach: str, *todo: tuple[str, str]) -> tuple[Kind, Entry]:
    entry = Entry(
        name=kind.form, group=METRIC, what=what, unit=unit, measured=f"{measured}; {_ASKED}", breach=breach,
        todo=(_SEARCH, *todo, EXPORT, WAIVE),
    )  # fmt: skip
    return kind, entry


def _prediction(kind: Kind, what: str, unit: str) -> tuple[Kind, Entry]:
    entry = Entry(
        name=kind.form,
        group=METRIC,
        what=what,
        unit=unit,
        measured="on whole samples of the evaluation split, through both models with their heads, with an interval "
        f"from samples drawn again; {_ASKED}",
        breach="The artifact predicts otherwise than its source, further than a form of so many bits does. See the "
        "checks of weights first.",
        todo=(_SEARCH, _BITS, WAIVE),
    )
    return kind, entry


_ROUNDED = "tensor by tensor from the files of both, given back in 16 bits, against the source rounded to that form"
_TOPS = (
    Kind.SOURCE_TOP1, Kind.SOURCE_TOP2, Kind.SOURCE_TOP3, Kind.SOURCE_TOP4, Kind.SOURCE_TOP5,
)  # fmt: skip
SOURCE_ENTRIES: Mapping[Kind, Entry] = dict(
    (
        _weight(
            Kind.SOURCE_LOSS,
            "SQNR that a weight in low bits loses over its rounded source. Against rounding the source's to the nearest"
            " number of the same form.",
            "dB",
            _ROUNDED,
            "The weight was not made of its source, or not soundly: rows or experts in another order, another step,"
            " other scales.",
        ),
        _weight(
            Kind.SOURCE_OUTLYING,
            "What a weight loses beyond twice the usual loss of SQNR. The usual one is what half of the weights lose at"
            " most.",
            "dB",
            _ROUNDED,
            "One weight is unlike the others: it was made of another checkpoint's.",
        ),
        _weight(
            Kind.SOURCE_GROUP_LOSS,
            "The same of the group of entries that loses most. Entries of a row that share a scale.",
            "dB",
            _ROUNDED,
            "A scale of that group is not its own, which shows in no sum over the weight.",
        ),
        _weight(
            Kind.SOURCE_RESCALED,
            "Share by which a weight in low bits is larger or smaller than its source rounded. By least squares, over"
            " all entries.",
            "a share",
            _ROUNDED,
            "The weight was scaled as a whole, or for its neighbours, as AWQ and SmoothQuant scale some.",
        ),
        _weight(
            Kind.SOURCE_CHANGED,
            "Tensors in 16 bits that are not the source's. Of one tensor, its entries that differ.",
            "a count",
            "to the bit, in the dtype of either",
            "A norm, an embedding or a layer left in 16 bits is another checkpoint's, or was scaled.",
            ("AWQ, SmoothQuant", "norms take over what scales their neighbours: waive them by name"),
        ),
        _weight(
            Kind.SOURCE_UNMATCHED,
            "Tensors that the artifact or its source lacks. By name, once each is where the model has it.",
            "a count",
            "from the headers of both",
            "A tensor was left out of the export, or comes from elsewhere.",
        ),
        _prediction(
            Kind.SOURCE_MEAN_KL,
            "Divergence of next-token distributions from those of the source. Kullback and Leibler's.",
            "nats per token",
        ),
        _prediction(
            Kind.SOURCE_REVERSE_KL,
            "The same from the artifact to the source. Large where the artifact is sure of what its source rules out.",
            "nats per token",
        ),
        *(
            _prediction(
                kind,
                f"Share of the source's {'most likely token' if k == 1 else f'{k} most likely tokens'} that the "
                f"artifact has among its own {k}. On average over tokens.",
                "a share from 0 to 1",
            )
            for k, kind in enumerate(_TOPS, 1)
        ),
        _prediction(
            Kind.SOURCE_PERPLEXITY_RATIO,
            "Perplexity of the artifact over that of its source. On the same tokens.",
            "a factor",
        ),
    )
)
