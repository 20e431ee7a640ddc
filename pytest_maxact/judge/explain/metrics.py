"""What every kind of metric is, by the kinds of `Metric`: a name that limits, reports and tests use has one."""

from pytest_maxact.errors import setting
from pytest_maxact.judge.explain.attention import ATTENTION_ENTRIES
from pytest_maxact.judge.explain.entry import (
    EXPECTED,
    EXPORT,
    METRIC,
    NEVER_WAIVED,
    USUAL,
    WAIVE,
    Entry,
)
from pytest_maxact.judge.explain.lint import LINT_ENTRIES
from pytest_maxact.judge.explain.source import SOURCE_ENTRIES
from pytest_maxact.judge.explain.static import STATIC_ENTRIES
from pytest_maxact.record.metrics.metric import Kind

_MAGNITUDE, _COUNT, _SHARE = "that of activations: a magnitude without a dimension", "a count", "a share, 0 to 1"
_AGAINST = f"against each {setting('baseline')}, in a series against the checkpoint before and the first"
_RETRAINED = (
    "expected change",
    "a training stage or a merge moves it: bound it by `regression:` of a limits file of your own, or compare"
    " with a later"
    " baseline",
)
_CHANGED = (EXPORT, _RETRAINED, WAIVE)


def _metric(name: str, what: str, unit: str, measured: str, breach: str, todo: tuple[tuple[str, str], ...]) -> Entry:
    return Entry(name=name, group=METRIC, what=what, unit=unit, measured=measured, breach=breach, todo=todo)


_OF_SITES = {
    Kind.MAX_ABS: _metric(
        "max_abs",
        "Largest magnitude of the site. Infinite where any entry is NaN or infinite.",
        _MAGNITUDE,
        "exactly, over every entry of every token; more text can only raise it",
        "An outlier that no published checkpoint of the family has: INT-8 and FP16 lose by it. With many sites at"
        " once it is"
        " rather the family, the dtype or a scale; with one site the report names its token and channel.",
        USUAL,
    ),
    Kind.LEAST: _metric(
        "max_abs.min",
        "Largest magnitude of the site, held from below. The same figure as max_abs.",
        _MAGNITUDE,
        "as max_abs; the bound lies far below what any layer of the family has",
        "Implausibly small: the layer was not trained, not loaded, or loaded at another scale.",
        USUAL,
    ),
    Kind.NONFINITE: _metric(
        "nonfinite",
        "How many entries are NaN or infinite. Of the weights: in their files; of predictions: how many distributions.",
        _COUNT,
        "counted beside the finite ones; the first is told with sample, token and channel",
        "The checkpoint is broken, or overflows in its dtype. The first site in the order in which values arise"
        " is where it"
        " begins; all after it are infected.",
        (
            (
                "broken export",
                "look at the first site named and at the weights of its module (`maxact::weights::nonfinite`)",
            ),
            ("overflow in float16", f"run in the dtype that it was trained in: {setting('dtype')} bf16"),
            NEVER_WAIVED,
        ),
    ),
    Kind.RMS: _metric(
        "rms",
        "Root mean square of the site's entries. What is typical, where max_abs is the extreme.",
        _MAGNITUDE,
        "from the exact histogram, over every entry",
        "The whole site is scaled differently, not only one outlier.",
        USUAL,
    ),
    Kind.QUANTILE: _metric(
        "quantile.<q>",
        "Magnitude below which a share q of the entries lies. quantile.0.5 is the median.",
        _MAGNITUDE,
        "from the exact histogram, over every entry",
        "The median far below what was published is implausibly small: not trained, or not loaded. A high quantile that"
        " exceeds its limit is a distribution that widened as a whole.",
        USUAL,
    ),
    Kind.CHANGED: _metric(
        "changed",
        "Share of the residual stream's entries that a layer changes. Or one of its blocks, whichever changes least.",
        _SHARE,
        "on the first 256 tokens of the longest sample: by more than one part in 512, or otherwise than with the"
        " block away",
        "The layer, or a block of it, does nothing: its weights are zero, were not loaded, or it is skipped.",
        (
            EXPORT,
            ("a layer that is meant to do nothing", "waive it: `site: layers.3.hidden`, `metric: changed`"),
        ),
    ),
    Kind.UNREACHED: _metric(
        "unreached_experts",
        "Share of a layer's routed experts that no token of the corpus reached.",
        _SHARE,
        "by counting the tokens that each expert was given; bounded only where a limits file says"
        " max_unreached_experts",
        "The text is too little or too uniform for so many experts, or the router collapsed onto a few.",
        (
            ("too little text", f"measure on more, or on other categories: {setting('corpus')} FILE"),
            (
                "collapsed router",
                "compare with an earlier checkpoint; experts in another order than the router's look alike",
            ),
            EXPECTED,
            WAIVE,
        ),
    ),
    Kind.INTEGER: _metric(
        "int<bits>.<policy>.<quantity>",
        "What symmetric integers with one scale per tensor do to the site. int8.max_abs.sqnr_db is the paper's check.",
        "that of its quantity",
        "the scale from the calibration third of the corpus, the error from the other two thirds, exactly, from"
        " histograms."
        " Policies of the clip: max_abs (the largest magnitude), clip_q<Q> (its Q-quantile), optimal (least"
        " squared error)",
        "One scale for the whole tensor does not do: an outlier takes the levels that the rest would need. The"
        " model itself"
        " may be sound.",
        (
            (
                "ship it otherwise",
                f"per token or in groups it may fit: {setting('deploy')} W8A8 judges real deployments",
            ),
            *USUAL,
        ),
    ),
    Kind.SCHEME: _metric(
        "<SCHEME>.<quantity>",
        "What a deployment scheme does to a linear layer's input or weights. As in W8A8.sqnr_db, W4A16.weight_sqnr_db.",
        "that of its quantity",
        "quantized bit for bit as compressed-tensors does it, on about 4 096 evaluation tokens; weights whole",
        "That layer does not survive the scheme. It says nothing against the checkpoint in 16 bits.",
        (
            ("keep the layer in 16 bits", "the report says which, and what predictions are then"),
            ("another scheme", "`maxact explain` lists them; scales per token or per group lose less"),
            EXPECTED,
            WAIVE,
        ),
    ),
}
_OF_MODELS = {
    Kind.EFFECT: _metric(
        "<SCHEME>.<effect>",
        "What a scheme does to predictions of the whole model. As in W8A8.mean_kl, FP8.top1_agreement.",
        "that of its quantity",
        f"evaluation samples run once as they are and once under the scheme ({setting('effect')}, {setting('deploy')})",
        "The model under the scheme predicts other tokens, though single layers may all look well.",
        (
            ("one layer is to blame", "the report tries layers alone in 16 bits and names the one that mends it"),
            ("another scheme", "one with finer scales, or with weights alone in low bits"),
            EXPECTED,
            WAIVE,
        ),
    ),
    Kind.SCORES: _metric(
        "<SCHEME>.score_headroom",
        "65 504 over the largest product of a query and a key. Before it is scaled, as eager attention forms it"
        " in float16.",
        "a factor",
        "bounded by the norms of queries and keys, or read where a layer gives no bound",
        "Attention overflows in float16, though no site does.",
        (("run it in bfloat16", "its range holds them"), EXPECTED, WAIVE),
    ),
    Kind.MARGIN: _metric(
        "margin",
        "How much better the model predicts text than the shares of its tokens do. In the category in the middle.",
        "nats per token",
        "on up to 4 096 evaluation tokens, through the model's own head",
        "A model that finds nothing to predict was not trained, not loaded, taken apart, or reads another"
        " tokenizer's ids.",
        (
            EXPORT,
            (
                "a base model for other text",
                f"measure on text of its kind ({setting('corpus')}), or set `min_margin` in its family",
            ),
            WAIVE,
        ),
    ),
    Kind.PERPLEXITY: _metric(
        "perplexity",
        "Perplexity of the model on the evaluation tokens. Reported; a limit on it is one of your own.",
        "none: e to the nats per token",
        "on the tokens of margin",
        "It predicts worse than you asked for: see margin by category, in the report.",
        (EXPORT, EXPECTED, WAIVE),
    ),
    Kind.MISFIT: _metric(
        "misfit",
        "Tensors that the config calls for and the files lack. Or hold in another shape, or as whole numbers.",
        _COUNT,
        "names and shapes of every file's header, against what transformers builds of config.json",
        "Part of the checkpoint was not saved, or config.json is of another model.",
        (EXPORT, ("a resized vocabulary", "config.json must say the size of the saved table"), WAIVE),
    ),
    Kind.ALL_ZERO: _metric(
        "all_zero",
        "Matrices of nothing but zeros in the weight files. Of a stack of experts each one.",
        _COUNT,
        "every tensor of every file, once",
        "Not saved, not loaded, not trained; or padding that nobody uses.",
        (
            EXPORT,
            ("meant to be zero", "`generic: {weights: {all_zero: N}}` lets N be; or waive the tensor by name"),
        ),
    ),
}
_OF_CHANGES = {
    Kind.GROWTH: _metric(
        "growth",
        "How many times the site's largest magnitude is what it was.",
        "a factor",
        f"now over then, {_AGAINST}; small magnitudes count as growth_floor",
        "Training diverges at that site, or the export scaled it.",
        _CHANGED,
    ),
    Kind.SHRINK: _metric(
        "shrink",
        "How many times the site's largest magnitude is less than it was.",
        "a factor",
        f"then over now, {_AGAINST}; infinite where only zeros are left",
        "An outlier was lost, as clipping, pruning or a wrong merge does; or the layer is no longer loaded.",
        _CHANGED,
    ),
    Kind.SHIFT: _metric(
        "shift",
        "How far the site's distribution of magnitudes moved. The largest difference of shares (Kolmogorov and"
        " Smirnov).",
        _SHARE,
        f"from both histograms, {_AGAINST}",
        "The site is another one as a whole, whatever its maximum says: sharper attention, a changed scale, other"
        " weights.",
        _CHANGED,
    ),
    Kind.TURN: _metric(
        "turn",
        "How far a block's outputs point elsewhere. 1 less the cosine with those of the baseline.",
        "none: 0 the same direction, 1 none in common",
        f"on the first 256 tokens of the longest sample, {_AGAINST}",
        "Another block stands in its place: layers, or projections of them, were swapped or came from another model.",
        _CHANGED,
    ),
    Kind.MASSIVE: _metric(
        "new_massive_layers",
        "Layers that meet the massive-activation criterion and did not before. Above 100 and 1 000 times the"
        " token's median.",
        _COUNT,
        f"the criterion of Sun et al., token by token, {_AGAINST}",
        "Massive activations arose where there were none: low-bit formats lose by them.",
        _CHANGED,
    ),
    Kind.JUMP: _metric(
        "jump_shift",
        "Layers by which the first jump moved. A jump layer multiplies the residual maximum by ten.",
        "layers; infinite where the jump came or went",
        f"{_AGAINST}",
        "Layers were inserted, dropped or put in another order, or the block that makes the outlier changed.",
        _CHANGED,
    ),
    Kind.DROP: _metric(
        "<metric>.drop",
        "How many dB of an SQNR were lost. As in int8.max_abs.sqnr_db.drop.",
        "dB",
        f"then less now, {_AGAINST}; down to sqnr_floor_db no loss counts",
        "The site became harder to quantize: see growth of the same site.",
        _CHANGED,
    ),
}
METRICS = {
    **_OF_SITES,
    **ATTENTION_ENTRIES,
    **_OF_MODELS,
    **_OF_CHANGES,
    **LINT_ENTRIES,
    **STATIC_ENTRIES,
    **SOURCE_ENTRIES,
}
