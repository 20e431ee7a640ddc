"""The name of a metric, parsed once: what a limit, a report or a test writes goes in, a frozen `Metric` with its parts
comes out. Nobody else takes such names apart.

Guard: a name that means nothing is refused here, before anything is measured or compared.
"""

import functools
import re
from dataclasses import dataclass, field
from enum import Enum

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.formats import integer_distortion
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.effect import EFFECTS
from pytest_maxact.record.metrics.distortion import FORMAT_QUANTITIES, SCHEME_QUANTITIES


class Of(Enum):
    """What a metric is a figure of."""

    SITE = "one reading"
    MODEL = "predictions of the whole model"
    WEIGHTS = "the tensors of the weight files"
    CHANGE = "a change since a baseline"


class Kind(Enum):
    """Every metric there is, once: how its name is written, and what it is a figure of. One whose `form` has no part in
    angle brackets is plain: it is its name. What a site's are worth stands in `value`.
    """

    MAX_ABS = ("max_abs", Of.SITE)
    NONFINITE = ("nonfinite", Of.SITE)
    RMS = ("rms", Of.SITE)
    UNREACHED = ("unreached_experts", Of.SITE)
    LEAST = ("max_abs.min", Of.SITE)
    CHANGED = ("changed", Of.SITE)
    CHANNEL_RATIO = ("channel_ratio", Of.SITE)
    QUANTILE = ("quantile.<q>", Of.SITE)
    INTEGER = ("int<bits>.<policy>.<quantity>", Of.SITE)
    SCHEME = ("<SCHEME>.<quantity>", Of.SITE)
    EFFECT = ("<SCHEME>.<quantity>", Of.MODEL)
    MISFIT = ("misfit", Of.WEIGHTS)
    ALL_ZERO = ("all_zero", Of.WEIGHTS)
    LINT = ("lint", Of.WEIGHTS)
    LINT_SCALE = ("scale", Of.WEIGHTS)
    LINT_INPUT_SCALE = ("input_scale", Of.WEIGHTS)
    LINT_ZERO_POINT = ("zero_point", Of.WEIGHTS)
    LINT_GROUP_INDEX = ("group_index", Of.WEIGHTS)
    LINT_PACKING = ("packing", Of.WEIGHTS)
    LINT_CODES = ("codes", Of.WEIGHTS)
    LINT_SELECTION = ("selection", Of.WEIGHTS)
    LINT_FUSED = ("fused", Of.WEIGHTS)
    LINT_FORMAT = ("format", Of.WEIGHTS)
    LINT_KV_SCALE = ("kv_scale", Of.WEIGHTS)
    LINT_INDEX = ("index", Of.WEIGHTS)
    STATIC_SQNR = ("static_sqnr_db", Of.WEIGHTS)
    STATIC_LOSS = ("static_loss_db", Of.WEIGHTS)
    STATIC_CLIP = ("static_clip_rate", Of.WEIGHTS)
    STATIC_OVERFLOW = ("static_overflow", Of.WEIGHTS)
    STATIC_SPARE = ("static_spare", Of.WEIGHTS)
    SOURCE_LOSS = ("source_loss_db", Of.WEIGHTS)
    SOURCE_OUTLYING = ("source_outlying_db", Of.WEIGHTS)
    SOURCE_GROUP_LOSS = ("source_group_loss_db", Of.WEIGHTS)
    SOURCE_RESCALED = ("source_rescaled", Of.WEIGHTS)
    SOURCE_CHANGED = ("source_changed", Of.WEIGHTS)
    SOURCE_UNMATCHED = ("source_unmatched", Of.WEIGHTS)
    SOURCE_MEAN_KL = ("source_mean_kl", Of.MODEL)
    SOURCE_REVERSE_KL = ("source_reverse_kl", Of.MODEL)
    SOURCE_TOP1 = ("source_top1_agreement", Of.MODEL)
    SOURCE_TOP2 = ("source_top2_agreement", Of.MODEL)
    SOURCE_TOP3 = ("source_top3_agreement", Of.MODEL)
    SOURCE_TOP4 = ("source_top4_agreement", Of.MODEL)
    SOURCE_TOP5 = ("source_top5_agreement", Of.MODEL)
    SOURCE_PERPLEXITY_RATIO = ("source_perplexity_ratio", Of.MODEL)
    MARGIN = ("margin", Of.MODEL)
    PERPLEXITY = ("perplexity", Of.MODEL)
    SCORES = ("<SCHEME>.score_headroom", Of.MODEL)
    LAYER_RATIO = ("layer_ratio", Of.MODEL)
    LOGIT_RATIO = ("logit_ratio", Of.MODEL)
    GROWTH = ("growth", Of.CHANGE)
    SHRINK = ("shrink", Of.CHANGE)
    SHIFT = ("shift", Of.CHANGE)
    TURN = ("turn", Of.CHANGE)
    MASSIVE = ("new_massive_layers", Of.CHANGE)
    JUMP = ("jump_shift", Of.CHANGE)
    DROP = ("<metric>.drop", Of.CHANGE)

    form: str
    of: Of

    def __new__(cls, form: str, of: Of) -> "Kind":
        """Its value is text, which a worker of a run is handed as it is."""
        kind = object.__new__(cls)
        kind._value_ = f"{form} of {of.name}"
        kind.form, kind.of = form, of
        return kind

    @property
    def is_plain(self) -> bool:
        return "<" not in self.form


_PLAIN = {kind.form: kind for kind in Kind if kind.is_plain}
_QUANTILE = Kind.QUANTILE.form.partition(".")[0]
_DROP = ".drop"
_INTEGERS = re.compile(r"int(\d+)")
_EMPTY = Histogram.empty("bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; `name` as it was written, by which metrics are equal, and the parts that its kind has.

    - `q`: of `quantile.<q>`.
    - `bits` and `policy`: of `int<bits>.<policy>.<quantity>`.
    - `scheme`: of `<SCHEME>.<quantity>`, at a site or of predictions.
    - `quantity`: what is told of a format or scheme.
    - `of`: whose loss a drop is: `int8.max_abs.sqnr_db` of `int8.max_abs.sqnr_db.drop`.
    """

    name: str
    kind: Kind = field(compare=False)
    q: float = field(default=0.0, compare=False)
    bits: int = field(default=0, compare=False)
    policy: str = field(default="", compare=False)
    scheme: str = field(default="", compare=False)
    quantity: str = field(default="", compare=False)
    of: "Metric | None" = field(default=None, compare=False)

    @staticmethod
    def parse(name: str) -> "Metric":
        """The metric of that name. Raises InputError for what is none, with those that there are."""
        return _parsed(name)

    def __str__(self) -> str:
        return self.name

    @property
    def is_of_a_site(self) -> bool:
        """Whether one reading has it: neither a change, nor of the whole model."""
        return self.kind.of is Of.SITE

    @property
    def needs_both_splits(self) -> bool:
        """Whether it, or what it is a loss of, has its scale from calibration and its error from evaluation samples."""
        return (self.of or self).kind is Kind.INTEGER

    @property
    def is_of_weights(self) -> bool:
        return self.kind is Kind.SCHEME and self.quantity in (WEIGHT_SQNR, WEIGHT_FLUSH)

    @property
    def is_in_decibels(self) -> bool:
        return self.quantity.endswith("_db")


SCORE_HEADROOM = "score_headroom"
"""The quantity of float16 that is of attention scores."""
CENTRED_SQNR = "centred_sqnr_db"
"""The quantity of a scheme of the cache that is of keys about their mean."""
WEIGHT_SQNR = "weight_sqnr_db"
WEIGHT_FLUSH = "weight_flush_to_zero"
"""The quantities of a scheme that are of a site's weights."""


def no_metric(name: str, why: str = "") -> InputError:
    """The error for a name that is no metric of a site, or means nothing."""
    *forms, last = (kind.form for kind in Kind if kind.of is Of.SITE)
    return InputError(
        f"no metric called {name!r}{f': {why}' if why else ''}\n"
        f"  there are {', '.join(forms)} and {last}, as in W8A8.sqnr_db"
    )


@functools.cache
def _parsed(name: str) -> Metric:
    if kind := _PLAIN.get(name):
        return Metric(name=name, kind=kind)
    if name.endswith(_DROP):
        return _drop(name)
    first, _, detail = name.partition(".")
    try:
        if first == _QUANTILE:
            return _quantile(name, detail)
        if integers := _INTEGERS.fullmatch(first):
            return _integer(name, int(integers[1]), detail)
        if first in SCHEMES:
            return _of_scheme(name, first, detail)
    except ValueError as error:
        raise no_metric(name, str(error)) from error
    raise no_metric(name)


def _drop(name: str) -> Metric:
    of = _parsed(name.removesuffix(_DROP))
    if not of.is_of_a_site:
        raise no_metric(of.name)
    return Metric(name=name, kind=Kind.DROP, of=of)


def _quantile(name: str, share: str) -> Metric:
    q = float(share)
    _EMPTY.quantile(q)
    return Metric(name=name, kind=Kind.QUANTILE, q=q)


def _integer(name: str, bits: int, detail: str) -> Metric:
    policy, _, quantity = detail.rpartition(".")
    if quantity not in FORMAT_QUANTITIES:
        raise no_metric(name)
    integer_distortion(_EMPTY, _EMPTY, policy, bits)
    return Metric(name=name, kind=Kind.INTEGER, bits=bits, policy=policy, quantity=quantity)


def _of_scheme(name: str, scheme: str, quantity: str) -> Metric:
    has = SCHEMES[scheme]
    if quantity == SCORE_HEADROOM and has.cast == "float16":
        return Metric(name=name, kind=Kind.SCORES, scheme=scheme, quantity=quantity)
    known = (
        (quantity == "headroom" and has.cast)
        or (quantity in (WEIGHT_SQNR, WEIGHT_FLUSH) and (has.weights or has.cast))
        or (quantity in SCHEME_QUANTITIES and (has.activations or has.cast or has.cache))
        or (quantity == CENTRED_SQNR and has.cache)
    ) and len(has.parts) == 1
    if not known and quantity not in EFFECTS:
        raise ValueError(f"{scheme} has no {quantity!r}")
    return Metric(name=name, kind=Kind.SCHEME if known else Kind.EFFECT, scheme=scheme, quantity=quantity)


MAX_ABS = Metric.parse(Kind.MAX_ABS.form)
LEAST = Metric.parse(Kind.LEAST.form)
"""The same figure as `max_abs`, as lower limits name it: a check of its own beside that of the upper limit."""
NONFINITE = Metric.parse(Kind.NONFINITE.form)
RMS = Metric.parse(Kind.RMS.form)
MISFIT = Metric.parse(Kind.MISFIT.form)
ALL_ZERO = Metric.parse(Kind.ALL_ZERO.form)
LINT = Metric.parse(Kind.LINT.form)
STATIC = tuple(Metric.parse(kind.form) for kind in Kind if kind.name.startswith("STATIC_"))
"""Of the static scales of an artifact."""
OF_SOURCE = "source_"
"""Begins the name of what is told of an artifact against its source."""
SOURCE_LOSS = Metric.parse(Kind.SOURCE_LOSS.form)
SOURCE_OUTLYING = Metric.parse(Kind.SOURCE_OUTLYING.form)
SOURCE_GROUP_LOSS = Metric.parse(Kind.SOURCE_GROUP_LOSS.form)
SOURCE_RESCALED = Metric.parse(Kind.SOURCE_RESCALED.form)
SOURCE_CHANGED = Metric.parse(Kind.SOURCE_CHANGED.form)
SOURCE_UNMATCHED = Metric.parse(Kind.SOURCE_UNMATCHED.form)
MEDIAN = Metric.parse("quantile.0.5")
UNREACHED = Metric.parse(Kind.UNREACHED.form)
CHANNEL_RATIO = Metric.parse(Kind.CHANNEL_RATIO.form)
LAYER_RATIO = Metric.parse(Kind.LAYER_RATIO.form)
LOGIT_RATIO = Metric.parse(Kind.LOGIT_RATIO.form)
CHANGED = Metric.parse(Kind.CHANGED.form)
MARGIN = Metric.parse(Kind.MARGIN.form)
GROWTH = Metric.parse(Kind.GROWTH.form)
SHRINK = Metric.parse(Kind.SHRINK.form)
SHIFT = Metric.parse(Kind.SHIFT.form)
TURN = Metric.parse(Kind.TURN.form)
MASSIVE = Metric.parse(Kind.MASSIVE.form)
JUMP = Metric.parse(Kind.JUMP.form)
INT8_SQNR = Metric.parse("int8.max_abs.sqnr_db")
"""The paper's INT-8 check: SQNR under one scale per tensor, the calibration maximum."""


def drop_of(metric: Metric) -> Metric:
    """The loss of a metric since a baseline."""
    return Metric.parse(f"{metric}{_DROP}")


def scheme_metric(scheme: str, quantity: str) -> Metric:
    """A quantity of a scheme. Raises InputError where the scheme has none of that name."""
    return Metric.parse(f"{scheme}.{quantity}")
