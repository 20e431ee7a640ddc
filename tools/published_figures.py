"""The paper's result tables, read: a folder with `checkpoints.csv`, `layers.csv`, `int8.csv` and `bootstrap.csv` in,
checkpoints with their figures by site kind and layer, grouped into shapes, out.

Columns that say something else than their name are not taken: `mlp_gate` is the gate of dense layers; what stands under
`moe_gate` is router logits for gpt_oss only, and softmax probabilities or expert indices elsewhere. Rows of layers that
the config does not count (Ling's multi-token prediction) are left out.
"""

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KINDS = ("embedding", "hidden", "attn_output", "mlp_output", "gate", "router", "final_norm")
_SITES = {
    "embedding_output": "embedding",
    "hidden": "hidden",
    "attn_output": "attn_output",
    "mlp_output": "mlp_output",
    "mlp_gate": "gate",
    "moe_gate": "router",
    "final_layernorm": "final_norm",
}
_LARGEST = {
    "embedding": "max_embedding",
    "hidden": "max_hidden",
    "attn_output": "max_attn_output",
    "mlp_output": "max_mlp_output",
    "gate": "max_mlp_gate",
    "router": "max_moe_gate",
    "final_norm": "max_final_norm",
}
_ROUTER_LOGITS = ("gpt_oss",)

Layers = Mapping[int, float]
"""By layer; embedding and final norm stand under layer 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One checkpoint. `largest` by site kind, `maxima` and `medians` by site kind and layer; `sqnr_db` is that of its
    INT-8 check, where it had one.
    """

    name: str
    model_type: str
    layers: int
    hidden_size: int
    max_abs: float
    carrier: str
    largest: Mapping[str, float]
    maxima: Mapping[str, Layers]
    medians: Mapping[str, Layers]
    sqnr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedShape:
    """Checkpoints of one model type, depth and width, ascending by M."""

    checkpoints: tuple[Published, ...]

    @property
    def name(self) -> str:
        """What their names begin with alike."""
        together = zip(*(one.name for one in self.checkpoints), strict=False)
        alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, together)
        return "".join(letters[0] for letters in alike).rstrip("-")

    @property
    def model_type(self) -> str:
        return self.checkpoints[0].model_type

    @property
    def layers(self) -> int:
        return self.checkpoints[0].layers

    @property
    def hidden_size(self) -> int:
        return self.checkpoints[0].hidden_size

    def maxima(self, kind: str) -> Layers:
        return largest_of([one.maxima[kind] for one in self.checkpoints if kind in one.maxima])

    def medians(self, kind: str) -> Layers:
        return smallest_of([one.medians[kind] for one in self.checkpoints if kind in one.medians])


def largest_of(figures: Sequence[Layers]) -> Layers:
    """Layer by layer."""
    return {layer: max(one[layer] for one in figures) for layer in figures[0]} if figures else {}


def smallest_of(figures: Sequence[Layers]) -> Layers:
    """Layer by layer."""
    return {layer: min(one[layer] for one in figures) for layer in figures[0]} if figures else {}


def read_shapes(folder: Path) -> list[PublishedShape]:
    """In the order of model types as they occur, then by width and depth."""
    sqnr = {row["model"]: float(row["sqnr_db"]) for row in rows_of(folder / "int8.csv") if row["policy"] == "max_abs"}
    rows: dict[str, list[dict[str, str]]] = {}
    for row in rows_of(folder / "layers.csv"):
        rows.setdefault(row["model"], []).append(row)
    groups: dict[tuple[str, int, int], list[Published]] = {}
    for row in rows_of(folder / "checkpoints.csv"):
        one = _checkpoint(row, rows[row["model"]], sqnr.get(row["model"]))
        groups.setdefault((one.model_type, one.hidden_size, one.layers), []).append(one)
    order = list(dict.fromkeys(model_type for model_type, _, _ in groups))
    return [
        PublishedShape(checkpoints=tuple(sorted(groups[key], key=lambda one: one.max_abs)))
        for key in sorted(groups, key=lambda key: (order.index(key[0]), *key[1:]))
    ]


def bootstrap_growth(folder: Path, shapes: Sequence[PublishedShape]) -> float:
    """The largest factor from M on the smallest subsets to M on all of the paper's corpus."""
    whole = {one.name: one.max_abs for shape in shapes for one in shape.checkpoints}
    rows = rows_of(folder / "bootstrap.csv")
    smallest = min(int(row["subset_size"]) for row in rows)
    return max(
        whole[row["model"]] / float(row["global_max_abs"]) for row in rows if int(row["subset_size"]) == smallest
    )


def _checkpoint(row: Mapping[str, str], rows: Sequence[Mapping[str, str]], sqnr_db: float | None) -> Published:
    model_type, layers = row["model_type"], int(row["layers"])
    kinds = [kind for kind in KINDS if kind != "router" or model_type in _ROUTER_LOGITS]
    maxima: dict[str, dict[int, float]] = {}
    medians: dict[str, dict[int, float]] = {}
    for one in rows:
        kind, layer = _SITES.get(one["site"], ""), int(one["layer"] or 0)
        if kind in kinds and layer < layers:
            maxima.setdefault(kind, {})[layer] = float(one["max_abs"])
            if one["abs_median"]:
                medians.setdefault(kind, {})[layer] = float(one["abs_median"])
    return Published(
        name=row["model"],
        model_type=model_type,
        layers=layers,
        hidden_size=int(row["hidden_size"]),
        max_abs=float(row["global_max_abs"]),
        carrier=carrier_of(row["location"]),
        largest={
            kind: float(row[_LARGEST[kind]])
            for kind in kinds
            if kind in ("embedding", "final_norm") or len(maxima.get(kind, {})) == layers
        },
        maxima=maxima,
        medians=medians,
        sqnr_db=sqnr_db,
    )


def carrier_of(location: str) -> str:
    """`layer_23_mlp_output` is layers.23.mlp_output, `final_layernorm` final_norm."""
    if location in _SITES:
        return _SITES[location]
    _, layer, site = location.split("_", 2)
    return f"layers.{layer}.{_SITES[site]}"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
