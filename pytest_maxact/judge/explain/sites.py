"""What every site is, and what stands where limits name one: the kinds of sites, the carrier of M, the model as a
whole, its predictions, its weights, and waivers.
"""

from pytest_maxact.errors import setting
from pytest_maxact.judge.explain.entry import EXPECTED, EXPORT, SITE, USUAL, WAIVE, Entry
from pytest_maxact.judge.limits.attention import LOGIT
from pytest_maxact.judge.limits.limit import CARRIER, HUNT, MODEL, PREDICTIONS, STRESS
from pytest_maxact.judge.limits.weights import WEIGHTS

WAIVER = "waive"
"""Stands in ids before waivers, which are checks too."""
_UNIT = "that of its activations: a magnitude without a dimension"
_EVERY = "every entry of every token, counted exactly in one pass; padding never counts"
_LINEAR = f"{_EVERY}; observed with {setting('sites')} deploy, or where a scheme is named"
_ATTENDED = f"{_EVERY}; observed with {setting('sites')} attention, at the call of transformers' attention interface"
_CACHE_REMEDIES = (
    ("a scale per head", "or per channel for keys and per token for values: the report names head and channel"),
    ("keep the cache in 16 bits", "for this layer, where the runtime can"),
    *USUAL,
)
_SCHEME_REMEDIES = (
    ("keep it in 16 bits", "the report names the layers that a quantization step would leave out, and what that gives"),
    ("smooth it", "`maxact export RECORD --smoothquant FILE` writes the channel maxima for a smoothing step"),
    ("another scheme", "scales per token or per group hold where one scale for the whole tensor does not"),
    *USUAL,
)


def _site(
    name: str, what: str, breach: str, measured: str = _EVERY, todo: tuple[tuple[str, str], ...] = USUAL
) -> Entry:
    return Entry(name=name, group=SITE, what=what, unit=_UNIT, measured=measured, breach=breach, todo=todo)


_OF_LAYERS = (
    _site(
        "embedding",
        "Output of the token embedding. Taken before anything is added to it or multiplied with it outside of the"
        " module.",
        "Embeddings move least of all in training. Too large or too small: rows of a resized vocabulary that nobody"
        " trained, a table of another model or scale, or text read with another model's tokenizer.",
    ),
    _site(
        "hidden",
        "Residual stream after a layer. The output of the layer module: what all later layers read; M sits here"
        " as a rule.",
        "One layer alone: its weights are scaled wrongly, swapped, or not loaded. All layers from one on: the"
        " fault is in"
        " the first of them, see its attn_output and mlp_output. All of them alike: another dtype, scale or family.",
    ),
    _site(
        "attn_output",
        "What the token mixer adds to the residual stream. Attention, linear attention, Mamba and the like, before"
        " post-norm, residual multiplier and addition.",
        "Projections scaled wrongly or swapped (q, k, v, o), a missing norm of queries and keys, rotary settings"
        " that do"
        " not fit the weights, or a kernel that computes something else. Zero throughout: the block is not loaded.",
    ),
    _site(
        "mlp_output",
        "What the feed-forward block adds to the residual stream. Of a mixture of experts the whole block, with the"
        " shared ones.",
        "Massive activations are born here. Too large: a down projection scaled wrongly, gate and up in each other's"
        " place, experts in another order than the router's. Zero throughout: the block is not loaded.",
    ),
    _site(
        "gate",
        "Output of the gate projection of a gated feed-forward block. Before its activation function and before"
        " any clamp.",
        "Gate and up projections in each other's place after fusing or splitting them, or a scale of a quantized"
        " checkpoint that was not applied.",
    ),
    _site(
        "router",
        "Router logits of a mixture of experts. The product of a token with the router's matrix, before softmax,"
        " sigmoid,"
        " correction or top-k.",
        "The router's matrix is of another layer or in a dtype it was not trained in, or training let its logits grow"
        " (no z-loss). Experts that no token reached are told apart from that: see unreached_experts.",
    ),
    _site(
        "final_norm",
        "Output of the normalisation after the last layer. What the head reads.",
        "The norm's weight is of another model, was folded into the head and kept all the same, or has the offset of"
        " one (Gemma) applied twice or not at all.",
    ),
)
_OF_LINEAR_LAYERS = (
    _site(
        "qkv_in",
        "Input of a token mixer's projections. What q, k and v are multiplied with, or what other mixers have in their"
        " place.",
        "A few channels carry far more than the others, as a norm's weight makes them: one scale for the tensor then"
        " leaves little for the rest.",
        _LINEAR,
        _SCHEME_REMEDIES,
    ),
    _site(
        "o_in",
        "Input of a mixer's last projection. The heads' outputs, side by side.",
        "One head, or one token (the first, often), carries the largest entries; scales per token mend the latter.",
        _LINEAR,
        _SCHEME_REMEDIES,
    ),
    _site(
        "mlp_in",
        "Input of a feed-forward block's first projections. Of every expert where there are several.",
        "As at qkv_in: channels that a norm's weight makes large.",
        _LINEAR,
        _SCHEME_REMEDIES,
    ),
    _site(
        "down_in",
        "Input of the projection that leads a feed-forward block back. The product of gate and up, of every expert.",
        "The hardest input to quantize: massive activations are entries of it, a thousand times their token's"
        " median. It"
        " is the first to keep in 16 bits.",
        _LINEAR,
        _SCHEME_REMEDIES,
    ),
)
_OF_ATTENTION = (
    _site(
        "q",
        "Queries, as attention multiplies them. After norm and rotary embedding, all heads side by side.",
        "A norm of queries that is missing or another layer's, rotary settings that do not fit the weights, or a bias"
        " that was scaled with its matrix.",
        _ATTENDED,
    ),
    _site(
        "k",
        "Keys, as attention multiplies them and a cache keeps them. After norm and rotary embedding, all heads side by"
        " side.",
        "A bias of keys far above the rest carries one channel of a head: a cache in few bits then has no levels left"
        " for the others, while short answers still look right.",
        _ATTENDED,
        _CACHE_REMEDIES,
    ),
    _site(
        "v",
        "Values, as attention weighs them and a cache keeps them. All heads side by side.",
        "A few tokens carry far more than the others: a cache with one scale for all of them loses the rest.",
        _ATTENDED,
        _CACHE_REMEDIES,
    ),
    _site(
        "kv_latent",
        "The compressed state of latent attention, as a cache keeps it. After its norm, with the rotated part that all"
        " heads share.",
        "The norm in front of the expansion is missing or another layer's, or its two parts differ so much that one"
        " scale does not serve both.",
        _ATTENDED,
        _CACHE_REMEDIES,
    ),
)
_WHOLE = (
    Entry(
        name=LOGIT,
        group=SITE,
        what="The scores of a layer's attention before the softmax. Scaled, with bias and softcap, head by head.",
        unit="that of a logit: nats",
        measured="the largest of every head over pairs of real tokens that the mask lets attend to each other, computed"
        f" in float32; observed with {setting('sites')} attention",
        breach="A head's scores are far above those of the others, or no numbers: queries or keys were scaled, or lack"
        " their norm.",
        todo=USUAL,
    ),
    Entry(
        name=CARRIER,
        group=SITE,
        what="The site that holds M, the largest magnitude of the checkpoint. Which one that is, the report says at M.",
        unit=_UNIT,
        measured="the paper's INT-8 check is held here: M is what sets the scale of a tensor",
        breach="M grew, or few entries carry it: one scale for the tensor leaves fewer levels for the rest.",
        todo=USUAL,
    ),
    Entry(
        name=MODEL,
        group=SITE,
        what="The model as a whole. What a scheme does to its predictions, its attention scores, and what changed"
        " in the"
        " residual stream since a baseline.",
        unit="that of the metric",
        measured=f"by running it: under a scheme with {setting('effect')} or {setting('deploy')}",
        breach="No single site need be at fault: see the sites of the same scheme or baseline that breach, first.",
        todo=(EXPORT, EXPECTED, WAIVE),
    ),
    Entry(
        name=PREDICTIONS,
        group=SITE,
        what="The model's own next-token predictions, unquantized.",
        unit="nats per token, or a count",
        measured="the final hidden states of the pass go through the model's own head, on up to 4 096 evaluation"
        " tokens",
        breach="It was not trained, not loaded, taken apart, or is read with another model's tokenizer.",
        todo=(
            EXPORT,
            (
                "another tokenizer",
                "check that tokenizer and weights come from one checkpoint, and that added tokens are last",
            ),
            ("text of a kind it never read", f"measure on text that it knows: {setting('corpus')} FILE"),
            WAIVE,
        ),
    ),
    Entry(
        name=STRESS,
        group=SITE,
        what="Inputs that no corpus has: every first token, BOS, delimiters, repeated, rare and random tokens, mixed"
        " scripts, abused chat templates, whole contexts.",
        unit="sites that are NaN or infinite",
        measured=f"by a pass of their own with {setting('stress')}; no figure of the corpus changes",
        breach="An input that somebody will send breaks the model, though the corpus does not.",
        todo=(
            EXPORT,
            ("an overflow in 16 bits", "run the layers from the first such site on in bfloat16 or float32"),
            WAIVE,
        ),
    ),
    Entry(
        name=HUNT,
        group=SITE,
        what="The worst inputs that a search found: every first token, pairs where there are few, then token by token"
        " up the gradient of the activation.",
        unit="sites at which one is NaN or infinite; of max_abs, the magnitude that one reaches",
        measured=f"by an ordinary pass over what was found with {setting('hunt')}; no figure of the corpus changes",
        breach="There is an input that breaks the model, or reaches more than the limit of its site, though the corpus"
        " does not.",
        todo=(
            EXPORT,
            (
                "it must not come back",
                f"keep it as a corpus: {setting('hunt_out')} FILE, then {setting('corpus')} FILE",
            ),
            WAIVE,
        ),
    ),
    Entry(
        name=WEIGHTS,
        group=SITE,
        what="The tensors of the weight files. `weights.<tensor>` is one of them, named as in the files.",
        unit="how many entries, matrices or tensors",
        measured="every tensor of every file is read once, in parts that the measurement does not run too",
        breach="A file was written in part, a tensor is missing or of another model, or a cast went beyond its format.",
        todo=(
            EXPORT,
            ("a part that nobody uses", "waive its tensors by name: `site: weights.vision_tower.*`"),
        ),
    ),
    Entry(
        name=WAIVER,
        group=SITE,
        what="A waiver of the limits file, which is a check itself. It lets pass what somebody answers for until"
        " a day.",
        unit="none",
        measured="by the findings of all checks that it speaks about, and by today's date in UTC",
        breach="Its day has passed (expired), or none of its checks fails any more (stale).",
        todo=(
            ("expired", "mend the checkpoint, or renew the waiver with a reason"),
            ("stale", "remove it: what it was for is mended"),
        ),
    ),
)
SITES = {entry.name: entry for entry in (*_OF_LAYERS, *_OF_LINEAR_LAYERS, *_OF_ATTENTION, *_WHOLE)}
