"""The form of what a limits file says of an artifact against the source that it was made from."""

from pytest_maxact.judge.limits.schema.sections import Regression
from pytest_maxact.judge.limits.schema.terms import Count, Figure, NotNegative, Section, Share, Text


class Made(Section):
    """Bounds on how far an artifact may be from its source.

    Of weights in low bits, each against what rounding the source to the nearest number of its form gives:
    `max_loss_db` of SQNR as a whole, `max_outlying_db` of it beyond twice what weights usually lose,
    `max_group_loss_db` of any group of entries, `max_rescaled`, the share by which
    all of it is larger or smaller. Of tensors in 16 bits how many may not be the source's (`max_changed`), and of all
    how many one of the two may lack (`max_unmatched`).

    Of predictions: `max_mean_kl` and `max_reverse_kl`, nats per token from the source and back; `min_top1_agreement` to
    `min_top5_agreement`; `max_perplexity_ratio`.
    """

    max_loss_db: NotNegative | None = None
    max_outlying_db: NotNegative | None = None
    max_group_loss_db: NotNegative | None = None
    max_rescaled: NotNegative | None = None
    max_changed: Count | None = None
    max_unmatched: Count | None = None
    max_mean_kl: Figure | None = None
    max_reverse_kl: Figure | None = None
    min_top1_agreement: Share | None = None
    min_top2_agreement: Share | None = None
    min_top3_agreement: Share | None = None
    min_top4_agreement: Share | None = None
    min_top5_agreement: Share | None = None
    max_perplexity_ratio: Figure | None = None


class Artifact(Made):
    """Bounds for every artifact, and for those whose form (`compressed-tensors int4`, `gguf int4`) a pattern meets,
    which come first; and how far its activations may be from the source's, as `regression` has it.
    """

    source: Text | None = None
    forms: dict[Text, Made] = {}
    activations: Regression | None = None
