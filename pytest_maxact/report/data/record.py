"""A Record for a program: plain data, every figure a number or null (JSON has no infinity), with the schema in its
first key.
"""

import math
from dataclasses import asdict
from typing import Any

from pytest_maxact.judge.published import standing
from pytest_maxact.numbers.formats import INT8_POLICIES
from pytest_maxact.record.metrics.figures import QUANTILES, mean_abs, quantile, rms
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.record.metrics.scheme import scheme_distortion
from pytest_maxact.record.metrics.value import beyond_fp16, metric_value
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record


def summarize(record: Record) -> dict[str, Any]:
    """`{"model", "family", "protocol", "tokens", "M": {...}, "sites": {name: {"max_abs", ...}}, ...}`.

    Where `slim` is true, `top` has the largest entry alone and `weights` the worst under each scheme.
    """
    provenance, carrier = record.provenance, record.carrier
    peak = carrier.peaks[0] if carrier.peaks else None
    return {
        "schema": 1,
        "slim": record.is_summary,
        "model": provenance.model,
        "revision": provenance.revision,
        "family": provenance.family,
        "model_type": provenance.model_type,
        "shape": {"layers": provenance.layers, "hidden_size": provenance.hidden_size},
        "protocol": provenance.protocol,
        "tokens": record.tokens,
        "samples": len(provenance.samples),
        "corpus": {"name": provenance.corpus, "sha256": provenance.corpus_sha256},
        "dtype": provenance.dtype,
        "device": provenance.device,
        "weights_sha256": provenance.weights_sha256,
        "tokenizer_sha256": provenance.tokenizer_sha256,
        "left_out": list(provenance.left_out),
        "batching": dict(provenance.batching),
        "versions": dict(provenance.versions),
        "metric_version": record.metric_version,
        "M": {
            "value": finite_or_null(carrier.max_abs),
            "site": carrier.site.name,
            "sample": peak.sample if peak else None,
            "position": peak.position if peak else None,
            "token": peak.token if peak else None,
            "channel": peak.channel if peak else None,
        },
        "int8": {
            "site": carrier.site.name,
            **{policy: _int8(carrier, policy) for policy in (*INT8_POLICIES, "optimal")},
        },
        "nonfinite": sum(reading.nonfinite for reading in record.sites.values()),
        "published": standing(carrier.max_abs),
        "schemes": list(provenance.schemes),
        "sampling": provenance.sampling,
        "effects": {name: _plain(asdict(effect)) for name, effect in record.effects.items()},
        "fp16": {
            "fits": not beyond_fp16(record),
            "sites_beyond": [reading.site.name for reading in beyond_fp16(record)],
        },
        "sites": {name: _site(reading) for name, reading in record.sites.items()},
    }


def _site(reading: SiteReading) -> dict[str, Any]:
    return {
        "kind": reading.site.kind,
        "layer": reading.site.layer,
        "module": reading.site.module,
        "detail": reading.site.detail,
        "dtype": reading.dtype,
        "width": reading.width,
        "elements": reading.count,
        "max_abs": finite_or_null(reading.max_abs),
        "finite_max": reading.finite_max,
        "nonfinite": reading.nonfinite,
        "rms": rms(reading),
        "mean_abs": mean_abs(reading),
        "quantiles": {str(q): quantile(reading, q) for q in QUANTILES},
        "massive": (
            {"tokens": m.tokens, "entries": m.entries, "max_ratio": m.max_ratio} if (m := reading.massive) else None
        ),
        "expert_tokens": list(reading.tokens_per_expert) if reading.tokens_per_expert is not None else None,
        "int8": {policy: _int8(reading, policy) for policy in INT8_POLICIES},
        "schemes": (
            {name: _plain(asdict(scheme_distortion(reading, name))) for name in reading.held.schemes}
            if not reading.nonfinite
            else {}
        ),
        "weights": {
            path: {name: _plain(asdict(e)) for name, e in errors.items()} for path, errors in reading.weights.items()
        },
        "top": [
            {
                "value": p.value,
                "sample": p.sample,
                "position": p.position,
                "token": p.token,
                "channel": p.channel,
                "part": p.part,
            }
            for p in reading.peaks
        ],
    }


def _int8(reading: SiteReading, policy: str) -> dict[str, float | None]:
    names = ("threshold", "sqnr_db", "rel_rmse", "rel_mae", "clip_rate", "flush_to_zero", "levels_used")
    return {name: finite_or_null(metric_value(reading, Metric.parse(f"int8.{policy}.{name}"))) for name in names}


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: finite_or_null(value) if isinstance(value, float) else value for name, value in figures.items()}


def finite_or_null(value: float) -> float | None:
    """A finite number, or null: JSON has no infinity, and a site with non-finite entries has no maximum."""
    return value if math.isfinite(value) else None
