"""What every quantity of a format or a scheme is: the last part of a metric's name."""

from pytest_maxact.judge.explain.entry import EXPECTED, QUANTITY, WAIVE, Entry

_DB, _SHARE, _RATIO, _NATS = (
    "dB: more is better, 6 dB are one bit",
    "a share, 0 to 1",
    "a ratio",
    "nats: less is better",
)
_SAMPLED = "integers per tensor exactly, from histograms; schemes on about 4 096 evaluation tokens"
_WEIGHTS = "on the weight as it is stored, whole; of several (experts) the worst"
_EFFECT = "on evaluation samples that run as they are and under the scheme"
_KEEP = ("keep the layer in 16 bits", "the report names it, and what predictions are then")
_FINER = ("finer scales", "a scheme per token or per group, or smoothing: `maxact export RECORD --smoothquant FILE`")
_REMEDIES = (_KEEP, _FINER, EXPECTED, WAIVE)
_WHOLE = (("one layer is to blame", "the report looks for it and names it"), _FINER, EXPECTED, WAIVE)


def _quantity(
    name: str,
    what: str,
    unit: str,
    breach: str,
    measured: str = _SAMPLED,
    todo: tuple[tuple[str, str], ...] = _REMEDIES,
) -> Entry:
    return Entry(name=name, group=QUANTITY, what=what, unit=unit, measured=measured, breach=breach, todo=todo)


QUANTITIES = {
    entry.name: entry
    for entry in (
        _quantity(
            "sqnr_db",
            "Signal to quantization noise. Energy of the tensor over energy of the error.",
            _DB,
            "The error is a tenth of the signal's amplitude at 20 dB. It flatters: an outlier carries the energy,"
            " so read"
            " flush_to_zero beside it.",
        ),
        _quantity(
            "sqnr_error_db",
            "Standard error of sqnr_db, as an estimate from a sample. 0 where it is exact.",
            "dB",
            "The sample is too small for a limit as tight as this one.",
            todo=(("more text", "a larger corpus has more tokens to sample"), EXPECTED),
        ),
        _quantity("rel_rmse", "Root of the squared error over the squared signal.", _RATIO, "As sqnr_db, as a ratio."),
        _quantity(
            "rel_mae",
            "Absolute error over absolute signal.",
            _RATIO,
            "The many small entries lose, where rel_rmse is about the few large ones.",
        ),
        _quantity(
            "clip_rate",
            "Share of the entries beyond the largest level.",
            _SHARE,
            "The clip was calibrated on text with smaller outliers.",
        ),
        _quantity(
            "flush_to_zero",
            "Share of the non-zero entries that become zero.",
            _SHARE,
            "An outlier sets the scale and nearly everything else is lost, however good the SQNR looks.",
        ),
        _quantity(
            "levels_used",
            "How many of the format's magnitudes occur.",
            "a count",
            "The format has levels to spare that an outlier keeps from use.",
        ),
        _quantity(
            "threshold",
            "The clip: the magnitude that the largest level stands for.",
            "that of activations",
            "The calibration maximum moved: see max_abs of the site.",
        ),
        _quantity(
            "token_median_db",
            "Median of the SQNR of single tokens.",
            _DB,
            "The typical token loses, not only tokens with an outlier.",
        ),
        _quantity(
            "token_low_db",
            "1 %-quantile of the SQNR of single tokens.",
            _DB,
            "A few tokens (first ones, delimiters) lose most of what they carry.",
        ),
        _quantity(
            "calm_sqnr_db",
            "SQNR of the tokens without a massive activation.",
            _DB,
            "The ordinary tokens pay for the scale that others set.",
        ),
        _quantity(
            "tokens",
            "How many tokens the figures come from.",
            "a count",
            "Too little text was sampled to judge by.",
            todo=(("more text", "measure on a larger corpus"), EXPECTED),
        ),
        _quantity(
            "centred_sqnr_db",
            "Energy of keys about their mean over energy of the error. The mean is each channel's in its sequence.",
            _DB,
            "What tells one key from another is lost in the error of a cache: a constant that all of them share takes"
            " its range, and is nothing to the softmax, so sqnr_db flatters.",
            "of keys, on all of the evaluation split; the error as of sqnr_db",
        ),
        _quantity(
            "weight_sqnr_db",
            "The lowest SQNR of the weights that an input is multiplied with.",
            _DB,
            "A weight with outliers, or dead rows beside large ones; the report names it.",
            _WEIGHTS,
        ),
        _quantity(
            "weight_flush_to_zero",
            "The largest share of a weight's non-zero entries that become zero.",
            _SHARE,
            "A single huge entry makes zeros of its whole row, group or matrix.",
            _WEIGHTS,
        ),
        _quantity(
            "headroom",
            "FP16, BF16: the largest number of the format over the largest entry.",
            "a factor",
            "Below 1 it overflows to infinity; just above it other text may.",
            "over every entry, those of text as it is deployed too",
            (("run it in bfloat16", "its range is that of float32"), EXPECTED, WAIVE),
        ),
        _quantity(
            "score_headroom",
            "FP16: 65 504 over the largest product of a query and a key.",
            "a factor",
            "Attention overflows before it is scaled.",
            "bounded by norms, or read",
            (("run it in bfloat16", "its range holds them"), EXPECTED, WAIVE),
        ),
        _quantity(
            "mean_kl",
            "Kullback-Leibler divergence of next-token distributions, in the mean.",
            _NATS,
            "The scheme changes what the model says; 0.1 nats is the shipped limit.",
            _EFFECT,
            _WHOLE,
        ),
        _quantity(
            "kl_q99",
            "99 %-quantile of that divergence over tokens.",
            _NATS,
            "Most tokens are well and a few are lost.",
            _EFFECT,
            _WHOLE,
        ),
        _quantity(
            "top1_agreement",
            "Share of the tokens whose most likely next token stays.",
            _SHARE,
            "At 90 % every tenth choice of a greedy decoder is another one; ties between likely tokens cost little.",
            _EFFECT,
            _WHOLE,
        ),
        _quantity(
            "perplexity_ratio",
            "Perplexity under the scheme over that of the model itself.",
            _RATIO,
            "It predicts the text itself worse, not only otherwise.",
            _EFFECT,
            _WHOLE,
        ),
    )
}
