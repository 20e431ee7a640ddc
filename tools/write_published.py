"""The published figures of single checkpoints that the paper's plots are redrawn from, written from its result tables.

    python -m tools.write_published FOLDER

FOLDER holds `checkpoints.csv`, `layers.csv`, `int8.csv` and `bootstrap.csv` of "Measuring Maximum Activations in Open
Large Language Models", arXiv 2605.15572 (Chen et al., May 2026, CC BY 4.0); they are not part of this project. What is
taken of them and what is not: `published_figures`. Limits are derived by `derive_limits`, and stand in thresholds.yaml.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.published_figures import carrier_of, read_shapes, rows_of

TARGET = Path(__file__).parents[1] / "pytest_maxact" / "judge" / "figures" / "published.json"
SOURCE = (
    "result files of 'Measuring Maximum Activations in Open Large Language Models', arXiv 2605.15572, Chen et al., "
    "May 2026, CC BY 4.0; written by tools/write_published.py"
)
_KINDS = ("embedding", "hidden", "attn_output", "mlp_output", "final_norm")


def published_data(folder: Path) -> dict[str, Any]:
    """Checkpoints by name, with maxima by site kind in the order of layers; of the residual stream the largest ratio of
    an entry to its token's median, layer by layer, and the tokens that meet the criterion; INT-8 and bootstrap rows.
    """
    layers = rows_of(folder / "layers.csv")
    stated = {row["model"]: row for row in rows_of(folder / "checkpoints.csv")}
    checkpoints = {}
    for one in sorted((one for shape in read_shapes(folder) for one in shape.checkpoints), key=lambda one: one.name):
        row = stated[one.name]
        stream = [row for row in layers if row["model"] == one.name and row["site"] == "hidden"]
        stream = sorted(stream, key=lambda row: int(row["layer"]))[: one.layers]
        checkpoints[one.name] = {
            "series": row["series"],
            "model_type": one.model_type,
            "layers": one.layers,
            "hidden_size": one.hidden_size,
            "moe": row["kind"] == "moe",
            "max_abs": _short(one.max_abs),
            "carrier": one.carrier,
            "maxima": {
                kind: [_short(one.maxima[kind][layer]) for layer in sorted(one.maxima[kind])]
                for kind in _KINDS
                if one.maxima.get(kind)
            },
            "massive_ratios": [_short(row["sun_max_ratio"]) for row in stream],
            "massive_tokens": [int(row["sun_tokens_passing"] or 0) for row in stream],
        }
    return {
        "source": SOURCE,
        "checkpoints": checkpoints,
        "int8": [_int8(row) for row in rows_of(folder / "int8.csv")],
        "bootstrap": _bootstrap(rows_of(folder / "bootstrap.csv")),
    }


def _int8(row: Mapping[str, str]) -> dict[str, Any]:
    return {
        "model": row["model"],
        "site": carrier_of(row["site"]),
        "policy": row["policy"],
        **{name: _short(row[name]) for name in ("threshold", "sqnr_db", "rel_rmse", "clip_rate")},
    }


def _bootstrap(rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, int], list[float | None]] = {}
    for row in rows:
        found.setdefault((row["model"], int(row["subset_size"])), []).append(_short(row["global_max_abs"]))
    return [{"model": model, "samples": size, "max_abs": values} for (model, size), values in found.items()]


def _short(value: float | str) -> float | None:
    """In six digits, which plots do not tell from more; None where nothing stands."""
    if value == "":
        return None
    figure = float(f"{float(value):.6g}")
    return int(figure) if figure.is_integer() else figure


def written(data: Mapping[str, Any]) -> str:
    """JSON with a line for each list of numbers, so that a change of one is a change of a line."""

    def lines(value: Any, indent: str) -> str:
        nested = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if not any(isinstance(one, (dict, list)) for one in nested):
            return json.dumps(value)
        inner = f"{indent} "
        pairs = (
            [f"{json.dumps(key)}: {lines(one, inner)}" for key, one in value.items()]
            if isinstance(value, dict)
            else [lines(one, inner) for one in value]
        )
        opened, closed = "{}" if isinstance(value, dict) else "[]"
        return f"{opened}\n" + ",\n".join(f"{inner}{pair}" for pair in pairs) + f"\n{indent}{closed}"

    return f"{lines(data, '')}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the paper's result tables")
    TARGET.write_text(written(published_data(parser.parse_args().folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
