"""The 27 published checkpoints, as context: where a measured M stands among them. They are no limits; those are in
thresholds.yaml.

Source: result files of "Measuring Maximum Activations in Open Large Language Models", arXiv 2605.15572 (Chen et al.,
May 2026, CC BY 4.0).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """One checkpoint: its shape, its M and the site that carries it."""

    model: str
    model_type: str
    layers: int
    hidden_size: int
    max_abs: float
    carrier: str


@dataclass(frozen=True, slots=True)
class Tier:
    """An observed range of M and who sits there; the paper gives no sharper cut-offs."""

    low: float
    high: float
    members: str


PUBLISHED = (
    Published("Qwen3.5-0.8B", "qwen3_5", 24, 1024, 122, "final_norm"),
    Published("Qwen3.5-35B-A3B", "qwen3_5_moe", 40, 2048, 132, "layers.39.hidden"),
    Published("Qwen3.5-9B", "qwen3_5", 32, 4096, 956, "layers.31.hidden"),
    Published("Qwen3-30B-A3B", "qwen3_moe", 48, 2048, 1512, "layers.3.hidden"),
    Published("gemma-2-9b", "gemma2", 42, 3584, 1664, "layers.41.hidden"),
    Published("Qwen3.5-27B", "qwen3_5", 64, 5120, 1848, "layers.63.hidden"),
    Published("gemma-2b", "gemma", 18, 2048, 2992, "layers.11.hidden"),
    Published("Qwen2.5-VL-3B", "qwen2_5_vl", 36, 2048, 3984, "layers.30.hidden"),
    Published("Ling-mini-5T", "bailing_moe", 20, 2048, 7648, "layers.14.hidden"),
    Published("Qwen2.5-1.5B-Instruct", "qwen2", 28, 1536, 7968, "layers.5.hidden"),
    Published("Qwen2.5-1.5B", "qwen2", 28, 1536, 7968, "layers.5.hidden"),
    Published("Qwen2.5-VL-7B", "qwen2_5_vl", 28, 3584, 8256, "layers.13.hidden"),
    Published("Ling-mini-10T", "bailing_moe", 20, 2048, 9024, "layers.10.hidden"),
    Published("Ling-mini-15T", "bailing_moe", 20, 2048, 10112, "layers.19.hidden"),
    Published("Ling-mini-20T", "bailing_moe", 20, 2048, 11776, "layers.19.hidden"),
    Published("Qwen2.5-7B", "qwen2", 28, 3584, 13248, "layers.13.hidden"),
    Published("Qwen2.5-7B-Instruct", "qwen2", 28, 3584, 13312, "layers.13.hidden"),
    Published("Qwen3-1.7B", "qwen3", 28, 2048, 14208, "layers.25.hidden"),
    Published("Qwen3-8B", "qwen3", 36, 4096, 17664, "layers.16.hidden"),
    Published("Qwen2.5-32B-Instruct", "qwen2", 64, 5120, 22144, "layers.42.hidden"),
    Published("Qwen2.5-VL-32B", "qwen2_5_vl", 64, 5120, 22144, "layers.44.hidden"),
    Published("Qwen2.5-32B", "qwen2", 64, 5120, 30848, "layers.63.hidden"),
    Published("Qwen3-32B", "qwen3", 64, 5120, 35328, "layers.44.hidden"),
    Published("gpt-oss-20b", "gpt_oss", 24, 2880, 145408, "layers.23.mlp_output"),
    Published("gemma-2-27b", "gemma2", 46, 4608, 157696, "layers.38.hidden"),
    Published("gemma-3-4b-it", "gemma3", 34, 2560, 245760, "layers.29.hidden"),
    Published("gemma-3-27b-it", "gemma3", 62, 5376, 696320, "layers.46.hidden"),
)
"""Ascending by M."""
TIERS = (
    Tier(100, 1_000, "Qwen3.5, MoE"),
    Tier(1_664, 2_992, "small Gemma"),
    Tier(3_984, 35_328, "Qwen2.5, Qwen3 dense, Ling"),
    Tier(145_408, 157_696, "gpt-oss-20b, gemma-2-27b"),
    Tier(245_760, 696_320, "Gemma3"),
)
"""The paper's rounded ranges; where its rounding excludes a member, that member's exact figure is the end."""


def standing(max_abs: float) -> str:
    """Where an M stands, in words: rank among the published, neighbours, tier."""
    if not math.isfinite(max_abs):
        return "not comparable with published checkpoints: it has non-finite activations"
    below = [p for p in PUBLISHED if p.max_abs < max_abs]
    equal = [p for p in PUBLISHED if p.max_abs == max_abs]
    above = [p for p in PUBLISHED if p.max_abs > max_abs]
    neighbours = [
        f"above {below[-1].model} ({below[-1].max_abs:g})" if below else "",
        f"equal to {', '.join(p.model for p in equal)}" if equal else "",
        f"below {above[0].model} ({above[0].max_abs:g})" if above else "",
    ]
    between = " and ".join(part for part in neighbours if part)
    tier = next((t for t in TIERS if t.low <= max_abs <= t.high), None)
    range_words = f"; in the range of {tier.members}" if tier else ""
    return f"larger than {len(below)} of {len(PUBLISHED)} published checkpoints: {between}{range_words}"
