"""How the effect of a scheme on predictions relates to the maximum activation and to SQNR: rank correlations over
trained and planted checkpoints.

    python benchmarks/effect_study.py                    # about ten minutes on two cores
    python benchmarks/effect_study.py --samples 20 --schemes W8A8

Checkpoints: `fixtures/qwen3-tiny`, the four of its training run, and variants of the last one with planted outliers: a
channel of a layer's feed-forward block or of its norm scaled up, with the next weights scaled down by as much, so that
the model computes the same; and a constant added to a channel of every token's embedding, which raises the maximum of
the residual stream. The divergence is always from the same checkpoint in 16 bits.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors.torch import load_file, save_file

from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.record.metrics.metric import INT8_SQNR, scheme_metric
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings

FIXTURES = Path(__file__).parents[1] / "fixtures"
LAYERS, CHANNEL = (1, 4), 17
Tensors = dict[str, object]


def planted(name: str, change: Callable[[Tensors], None], folder: Path) -> Path:
    """A copy of the trained fixture with its tensors changed."""
    target = folder / name
    shutil.copytree(FIXTURES / "qwen3-tiny", target)
    tensors = load_file(target / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def down(factor: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for layer in LAYERS:
            tensors[f"model.layers.{layer}.mlp.up_proj.weight"][CHANNEL] *= factor
            tensors[f"model.layers.{layer}.mlp.down_proj.weight"][:, CHANNEL] /= factor

    return change


def norm(factor: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for layer in LAYERS:
            tensors[f"model.layers.{layer}.post_attention_layernorm.weight"][CHANNEL] *= factor
            for projection in ("gate_proj", "up_proj"):
                tensors[f"model.layers.{layer}.mlp.{projection}.weight"][:, CHANNEL] /= factor

    return change


def residual(constant: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors["model.embed_tokens.weight"][:, CHANNEL] += constant

    return change


def checkpoints(folder: Path) -> Iterator[tuple[str, Path]]:
    for step in sorted(
        (FIXTURES / "qwen3-tiny-steps").iterdir(), key=lambda path: int(path.name.removeprefix("step-"))
    ):
        yield step.name, step
    yield "trained", FIXTURES / "qwen3-tiny"
    for factor in (8.0, 64.0, 512.0):
        yield f"down x {factor:g}", planted(f"down-{factor:g}", down(factor), folder)
        yield f"norm x {factor:g}", planted(f"norm-{factor:g}", norm(factor), folder)
    for constant in (2.0, 8.0, 32.0):
        yield f"residual + {constant:g}", planted(f"residual-{constant:g}", residual(constant), folder)


def figures(record: Record, scheme: str) -> dict[str, float]:
    """What could predict the effect, each so that more means worse, and the effect."""
    linear = [reading for reading in record.sites.values() if reading.site.is_linear_input]
    sqnr = [metric_value(reading, scheme_metric(scheme, "sqnr_db")) for reading in linear]
    return {
        "M": record.carrier.max_abs,
        "INT-8 of the carrier": -metric_value(record.carrier, INT8_SQNR),
        "lowest SQNR": -min(sqnr),
        "median SQNR": -statistics.median(sqnr),
        "lowest token median": -min(
            metric_value(reading, scheme_metric(scheme, "token_median_db")) for reading in linear
        ),
        "most zeroed": max(metric_value(reading, scheme_metric(scheme, "flush_to_zero")) for reading in linear),
        "mean KL": record.effects[scheme].mean_kl,
    }


def ranks(values: list[float]) -> list[float]:
    """Ranks from 1, equal values sharing the mean of theirs."""
    return [
        sum(other < value for other in values) + (1 + sum(other == value for other in values)) / 2 for value in values
    ]


def rank_correlation(one: list[float], other: list[float]) -> float:
    """Spearman's."""
    return statistics.correlation(ranks(one), ranks(other))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--schemes", default="W8A8,W8A8_STATIC,FP8,NVFP4")
    options = parser.parse_args()
    names = tuple(options.schemes.split(","))
    table: dict[str, dict[str, dict[str, float]]] = {name: {} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for label, path in checkpoints(Path(folder)):
            settings = Settings(model=str(path), max_samples=options.samples, schemes=names, effect=names)
            record = measure(prepare(settings), settings, None)
            for name in names:
                table[name][label] = figures(record, name)
            row = "  ".join(
                f"{name} KL {table[name][label]['mean KL']:.3g} ({-table[name][label]['lowest SQNR']:.1f} dB)"
                for name in names
            )
            print(f"{label:16} M {record.carrier.max_abs:8.5g}  {row}", flush=True)
    columns = [name for name in next(iter(table[names[0]].values())) if name != "mean KL"]
    print(f"\n| rank correlation with mean KL | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name in names:
        rows = list(table[name].values())
        found = [
            rank_correlation([row[column] for row in rows], [row["mean KL"] for row in rows]) for column in columns
        ]
        print(f"| {name} | {' | '.join(f'{value:+.2f}' for value in found)} |")


if __name__ == "__main__":
    main()
