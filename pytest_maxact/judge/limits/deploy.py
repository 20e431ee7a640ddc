"""Limits of fitness for deployment schemes, from the `deploy:` section: at every input of a linear layer, in its
weights, and in predictions.

Of several statements the most specific wins: the user's file before the shipped one; within a file those of the scheme
before those for all.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import LimitsFile
from pytest_maxact.judge.limits.limit import MODEL, Limit
from pytest_maxact.judge.limits.schema.sections import Fitness
from pytest_maxact.numbers.schemes import SCHEMES, Scheme
from pytest_maxact.numbers.sites import Site, kept_in_cache
from pytest_maxact.record.effect import EFFECTS
from pytest_maxact.record.metrics.metric import CENTRED_SQNR, SCORE_HEADROOM, scheme_metric

CACHE_QUANTITIES = (
    "sqnr_db",
    CENTRED_SQNR,
    "flush_to_zero",
    "clip_rate",
    "rel_rmse",
    "token_median_db",
    "token_low_db",
)
"""What is judged of keys and values; those of single tokens where scales are not the tensor's."""


def fitness_limits(
    files: Sequence[LimitsFile], schemes: Iterable[str], sites: Sequence[Site], predicts: bool
) -> list[Limit]:
    """The limits that make a model fit for `schemes`. `predicts`: whether it has a next-token distribution, on which an
    effect is measured.

    Raises InputError for a scheme that no limit speaks about: it would pass unseen.
    """
    found: list[Limit] = []
    for name in schemes:
        limits = stated_limits(files, name, sites, predicts)
        if not limits:
            raise InputError(
                f"{files[0].path} sets no limit for scheme {name}, so nothing would be checked\n"
                "  add `deploy: {min_sqnr_db: 20, max_mean_kl: 0.1}`, or `extends: builtin` for the shipped ones"
            )
        found += limits
    return list({(limit.site, limit.metric): limit for limit in found}.values())


def stated_limits(files: Sequence[LimitsFile], scheme: str, sites: Sequence[Site], predicts: bool) -> list[Limit]:
    """Whatever limits the files state for a scheme; of `W8A8+KV_FP8` those of its parts at sites, and its own on
    predictions.
    """
    whole = SCHEMES[scheme]
    if len(whole.parts) == 1:
        return list(_of_scheme(files, whole, sites, predicts))
    parts = [limit for part in whole.parts for limit in _of_scheme(files, SCHEMES[part], sites, predicts=False)]
    return [*parts, *_of_scheme(files, whole, (), predicts)]


def _of_scheme(files: Sequence[LimitsFile], scheme: Scheme, sites: Sequence[Site], predicts: bool) -> Iterator[Limit]:
    for key in Fitness.model_fields:
        quantity = key.partition("_")[2]
        if (stated := _stated(files, scheme, key)) is None:
            continue
        bound, file, line, source = stated
        for name in _where(quantity, scheme, sites, predicts):
            yield Limit(
                site=name,
                metric=scheme_metric(scheme.name, quantity),
                bound=bound,
                sense=key.partition("_")[0],
                rule=f"fitness for {scheme.name}",
                source=source,
                file=str(file),
                line=line,
            )


def _where(quantity: str, scheme: Scheme, sites: Sequence[Site], predicts: bool) -> list[str]:
    """The sites at which a quantity of a scheme is judged."""
    linear = [site.name for site in sites if site.is_linear_input]
    if scheme.cache and quantity not in EFFECTS:
        if quantity not in CACHE_QUANTITIES:
            return []
        return [site.name for site in kept_in_cache(sites) if quantity != CENTRED_SQNR or site.kind != "v"]
    if quantity in EFFECTS:
        return [MODEL] if predicts else []
    if quantity == "headroom":
        return [site.name for site in sites] if scheme.cast else []
    if quantity == CENTRED_SQNR:
        return []
    if quantity == SCORE_HEADROOM:
        return [MODEL] if scheme.cast == "float16" else []
    if quantity.startswith("weight_"):
        return linear if scheme.weights or scheme.cast else []
    return linear if scheme.activations else []


def _stated(files: Sequence[LimitsFile], scheme: Scheme, key: str) -> tuple[float, Path, int, str] | None:
    """The bound that is stated most specifically, where it is written, and its source."""
    for file in files:
        deploy = file.document.deploy
        if deploy is None:
            continue
        places = [("deploy", "schemes", scheme.name, key)] if scheme.name in deploy.schemes else []
        for place, stated in zip(
            [*places, ("deploy", key)], [*([deploy.schemes[scheme.name]] if places else []), deploy], strict=True
        ):
            if (value := getattr(stated, key)) is not None:
                return float(value), file.path, file.line(*place), deploy.source or ""
    return None
