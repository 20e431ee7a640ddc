"""The part of the report that answers which formats a checkpoint can ship in: a row per scheme, then what stops the
others and what would help.
"""

import math
from collections.abc import Collection, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.judge.deploy.fitness import SchemeFitness, fitness_of
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.metrics.metric import scheme_metric
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record


def render_fitness(record: Record, rules: Ruleset) -> Iterator[RenderableType]:
    """Nothing where no scheme was measured."""
    found = fitness_of(record, rules.fitness)
    if not found:
        return
    checked = {limit.metric.scheme for limit in rules.limits}
    yield Text()
    yield _table(record, found)
    yield Text(_notes(record), style="dim")
    yield Text()
    for scheme in found:
        for line in _words(scheme, scheme.scheme in checked):
            yield Text(line, style="yellow")
    yield Text(_recommendation(found, checked), style="bold")


def _recommendation(found: Sequence[SchemeFitness], checked: Collection[str]) -> str:
    fit = [scheme.scheme for scheme in found if scheme.passed]
    site_by_site = [scheme.scheme for scheme in found if scheme.holds and not scheme.compared]
    unfit = [scheme.scheme for scheme in found if scheme.breaches]
    words = [f"ships in {', '.join(fit)}"] if fit else []
    if site_by_site:
        words.append(
            f"fits {', '.join(site_by_site)} site by site, predictions not compared"
            f" ({setting('effect')}={','.join(site_by_site)})"
        )
    if unfit:
        words.append(f"not in {', '.join(unfit)}" if words else "ships in none of these formats as it is")
    reported = [scheme.scheme for scheme in found if scheme.scheme not in checked]
    return "; ".join(words or ["nothing was judged"]) + (
        "" if not reported else f" (reported; {setting('deploy')} makes checks of it)"
    )


def _table(record: Record, found: Sequence[SchemeFitness]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("scheme", no_wrap=True)
    table.add_column("fits", no_wrap=True)
    for name in ("inputs dB", "at", "zeroed", "weights dB", "KL", "top-1"):
        table.add_column(name, justify="left" if name == "at" else "right", no_wrap=True)
    for scheme in found:
        effect, lowest = scheme.effect, scheme.lowest
        table.add_row(
            scheme.scheme,
            (
                Text("yes", style="green")
                if scheme.passed
                else Text("?" if not scheme.breaches else "NO", style="bold red")
            ),
            _decibel(lowest),
            lowest[1].removeprefix("layers.") if lowest else "",
            _zeroed(record, scheme.scheme),
            _decibel(scheme.lowest_weight),
            _figure(effect.mean_kl) if effect else "-",
            f"{effect.top1_agreement:.1%}" if effect else "-",
        )
    return table


def _decibel(lowest: tuple[float, str] | None) -> str:
    if lowest is None:
        return "-"
    return "none" if math.isnan(lowest[0]) else "exact" if lowest[0] == math.inf else f"{lowest[0]:.1f}"


def _figure(value: float) -> str:
    return f"{value:.2g}" if math.isfinite(value) else "NaN"


def _zeroed(record: Record, name: str) -> str:
    """The largest share of non-zero entries of a linear input that become zero."""
    if SCHEMES[name].activations is None:
        return "-"
    shares = []
    for reading in record.sites.values():
        if reading.site.is_linear_input:
            try:
                shares.append(metric_value(reading, scheme_metric(name, "flush_to_zero")))
            except MeasureError:
                continue
    if any(math.isnan(share) for share in shares):
        return "none"
    return f"{max(shares):.1%}" if shares else "-"


def _words(scheme: SchemeFitness, checked: bool) -> Iterator[str]:
    if scheme.unmeasured:
        yield f"{scheme.scheme}: {scheme.unmeasured}"
    for finding in sorted(scheme.breaches, key=_severity)[:1]:
        more = f"; {len(scheme.breaches) - 1} more breaches" if len(scheme.breaches) > 1 else ""
        what = finding.message if checked else finding.message.split("; fitness")[0]
        yield f"{scheme.scheme} does not fit: {what}{more}"
    for line in scheme.advice:
        yield f"  {line}"


def _severity(finding: Finding) -> tuple[bool, float]:
    """Worst first: what is no number, then the furthest beyond its bound."""
    distance = finding.value - finding.limit.bound
    return not math.isnan(finding.value), distance if finding.limit.sense == "min" else -distance


def _notes(record: Record) -> str:
    lines = [
        "inputs dB, weights dB: the lowest SQNR of any linear layer's input and weight. zeroed: largest share of an"
        " input's entries that become 0."
    ]
    if record.provenance.sampling > 1:
        lines.append(
            f"One evaluation token in {record.provenance.sampling} was quantized; static scales of a single tensor are"
            " exact, over all of them."
        )
    if not record.provenance.predicts:
        lines.append("Predictions were not compared: this architecture has no next-token distribution.")
    return "\n".join(lines)
