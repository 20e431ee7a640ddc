"""A Record for a program: plain data, every figure a number or null (JSON has no infinity), with the schema in its
first key.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pytest_maxact.judge.portrait import Portrait
from pytest_maxact.judge.site_figures import SiteFigures
from pytest_maxact.numbers.formats import FormatDistortion
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.static import HeldScale
from pytest_maxact.report.data.hunt import hunt_data
from pytest_maxact.report.data.null import finite_or_null, plain
from pytest_maxact.report.data.scan import scan_data
from pytest_maxact.report.data.source import source_data
from pytest_maxact.report.data.stress import stress_data
from pytest_maxact.report.data.weights import weight_data


def record_data(portrait: Portrait, figures: Sequence[SiteFigures]) -> dict[str, Any]:
    """`{"model", "family", "protocol", "tokens", "M": {...}, "sites": {name: {"max_abs", ...}}, ...}`.

    Where `slim` is true, `top` has the largest entry alone and `weights` the worst under each scheme.
    """
    provenance, m = portrait.provenance, portrait.m
    carrier = next(site for site in figures if site.site == m.site)
    return {
        "schema": 1,
        "slim": portrait.slim,
        "model": provenance.model,
        "revision": provenance.revision,
        "family": provenance.family,
        "model_type": provenance.model_type,
        "shape": {"layers": provenance.layers, "hidden_size": provenance.hidden_size},
        "protocol": provenance.protocol,
        "tokens": portrait.tokens,
        "samples": len(provenance.samples),
        **({"context": _context(provenance)} if provenance.context else {}),
        "corpus": {"name": provenance.corpus, "sha256": provenance.corpus_sha256},
        "dtype": provenance.dtype,
        **({"stored": provenance.stored} if provenance.stored else {}),
        "device": provenance.device,
        **({"placement": provenance.placement} if provenance.placement else {}),
        **({"arithmetic": provenance.arithmetic} if provenance.arithmetic else {}),
        "weights_sha256": provenance.weights_sha256,
        "tokenizer_sha256": provenance.tokenizer_sha256,
        **({"tokens_sha256": provenance.tokens_sha256} if provenance.tokens_sha256 else {}),
        **({"template_date": provenance.template_date} if provenance.template_date else {}),
        **({"shard": provenance.shard} if provenance.shard else {}),
        "left_out": list(provenance.left_out),
        "batching": dict(provenance.batching),
        "versions": dict(provenance.versions),
        "metric_version": portrait.metric_version,
        "M": {"value": finite_or_null(m.value), "site": m.site.name, **_place(m.peak)},
        "int8": {
            "site": m.site.name,
            **{policy: _int8(error, m.nonfinite) for policy, error in carrier.int8.items()},
            "optimal": _int8(portrait.int8.optimal, m.nonfinite),
        },
        "nonfinite": portrait.broken.entries if portrait.broken else 0,
        "published": m.standing,
        "schemes": list(provenance.schemes),
        "sampling": provenance.sampling,
        "effects": {name: plain(_without_samples(asdict(effect))) for name, effect in portrait.effects.items()},
        **({"predictions": _predictions(portrait.predictions)} if portrait.predictions else {}),
        "fp16": {"fits": portrait.fp16.fits, "sites_beyond": list(portrait.fp16.beyond)},
        **({"weights": scan_data(portrait.weights)} if portrait.weights else {}),
        **({"deployed": asdict(provenance.deployed)} if provenance.deployed else {}),
        **({} if portrait.scores is None else {"scores": [plain(asdict(found)) for found in portrait.scores]}),
        **({"source": source_data(portrait.source)} if portrait.source else {}),
        **({} if portrait.logits is None else {"logits": [plain(asdict(found)) for found in portrait.logits]}),
        **({"noise": plain(asdict(portrait.noise))} if portrait.noise else {}),
        **({} if portrait.static is None else {"static_scales": [_static(held) for held in portrait.static]}),
        **({"untried": dict(portrait.untried)} if portrait.untried else {}),
        **({"hunt": hunt_data(portrait.hunt)} if portrait.hunt else {}),
        **({"stress": stress_data(portrait.stress)} if portrait.stress else {}),
        "sites": {site.site.name: _site(site) for site in figures},
    }


def _static(held: HeldScale) -> dict[str, Any]:
    derived = {"loss_db": held.loss_db, "overflow": held.overflow, "spare": held.spare}
    figures: dict[str, Any] = plain({**asdict(held), **derived})
    return figures


def _context(provenance: Provenance) -> dict[str, Any]:
    """How the text fits the model, with the number of tokens after which samples were cut."""
    assert provenance.context is not None
    return {**asdict(provenance.context), "max_seq_len": provenance.max_seq_len}


def _predictions(told: Predictions) -> dict[str, Any]:
    return {
        "unchecked": told.unchecked or None,
        "tokens": told.tokens,
        "nonfinite": told.nonfinite,
        "perplexity": finite_or_null(told.perplexity),
        "margin": finite_or_null(told.margin),
        "categories": {
            one.category: {
                "tokens": one.tokens,
                "nonfinite": one.nonfinite,
                "nll": finite_or_null(one.surprise),
                "margin": finite_or_null(one.margin),
            }
            for one in told.categories
        },
    }


def _site(figures: SiteFigures) -> dict[str, Any]:
    return {
        "kind": figures.site.kind,
        "layer": figures.site.layer,
        "module": figures.site.module,
        "detail": figures.site.detail,
        "dtype": figures.dtype,
        "width": figures.width,
        "elements": figures.count,
        "max_abs": finite_or_null(figures.max_abs),
        "finite_max": figures.finite_max,
        "nonfinite": figures.nonfinite,
        "rms": figures.rms,
        "mean_abs": figures.mean_abs,
        "quantiles": {str(q): value for q, value in figures.quantiles.items()},
        "massive": (
            {"tokens": m.tokens, "entries": m.entries, "max_ratio": m.max_ratio} if (m := figures.massive) else None
        ),
        "expert_tokens": list(figures.tokens_per_expert) if figures.tokens_per_expert is not None else None,
        "int8": {policy: _int8(error, bool(figures.nonfinite)) for policy, error in figures.int8.items()},
        "schemes": {name: plain(asdict(error)) for name, error in figures.schemes.items()},
        **({"cached": plain(dict(figures.cached))} if figures.cached else {}),
        "weights": {
            path: {name: weight_data(e) for name, e in errors.items()} for path, errors in figures.weights.items()
        },
        **({"changed": dict(figures.changed)} if figures.changed else {}),
        "top": [{"value": peak.value, **_place(peak), "part": peak.part} for peak in figures.peaks],
    }


def _place(peak: Peak | None) -> dict[str, Any]:
    around = peak.around if peak else None
    return {
        **{name: getattr(peak, name, None) for name in ("sample", "position", "token", "channel")},
        **({"before": around.before, "after": around.after} if around else {}),
    }


def _int8(error: FormatDistortion, broken: bool) -> dict[str, float | None]:
    """All null where the site is broken: what INT-8 costs its finite entries is no figure of it."""
    names = ("threshold", "sqnr_db", "rel_rmse", "rel_mae", "clip_rate", "flush_to_zero", "levels_used")
    return {name: None if broken else finite_or_null(float(getattr(error, name))) for name in names}


def _without_samples(effect: dict[str, Any]) -> dict[str, Any]:
    """What `maxact trust` reads of single samples is no part of it."""
    return {name: value for name, value in effect.items() if name != "by_sample"}
