"""The part of the report that answers which formats a checkpoint can ship in: a row per scheme, then what stops the
others and what would help.
"""

import math
from collections.abc import Iterator, Sequence

from pytest_maxact.errors import setting
from pytest_maxact.judge.deploy.fitness import SchemeFitness
from pytest_maxact.judge.portrait import Portrait, SchemeRow
from pytest_maxact.judge.verdict.severity import worst_of
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Text, grouped

_STYLES = {"yes": "green", "NO": "bold red", "waived": "yellow"}


def deploy_parts(portrait: Portrait) -> Iterator[Part]:
    """For at least one scheme."""
    rows = portrait.deploy
    yield Text()
    yield _grid(rows)
    yield from (Text(note, style="dim") for note in _notes(portrait))
    yield Text()
    for row in rows:
        for line in _words(row):
            yield Text(line, style="yellow")
    yield Text(_recommendation(rows, portrait.fp16.narrow), style="bold")


def _recommendation(rows: Sequence[SchemeRow], narrow: str) -> str:
    found = [row.fitness for row in rows]
    fit = [_with_figures(scheme) for scheme in found if scheme.passed]
    not_run = [scheme for scheme in found if scheme.holds and not scheme.compared]
    site_by_site = [scheme.scheme for scheme in not_run if not SCHEMES[scheme.scheme].cast]
    within = [scheme.scheme for scheme in not_run if SCHEMES[scheme.scheme].cast]
    predicts = all(scheme.predicts for scheme in not_run)
    unfit = [scheme.scheme for scheme in found if scheme.breaches]
    waived = [scheme for scheme in found if scheme.holds_by_waiver]
    words = [f"ships in {', '.join(fit)}"] if fit else []
    if site_by_site:
        missing = f" ({setting('effect')}={','.join(site_by_site)})" if predicts else ": it predicts no next token"
        words.append(f"fits {', '.join(site_by_site)} site by site, predictions not compared{missing}")
    if within:
        missing = f" ({setting('effect')}={','.join(within)})" if predicts else ""
        words.append(f"no observed site exceeds {' or '.join(within)}, in which it was not run{missing}")
    if narrow and words:
        words[-1] += f", for text without {narrow}"
    if unfit:
        words.append(f"not in {', '.join(unfit)}" if words else "ships in none of these formats as it is")
    if waived:
        compared = "" if all(scheme.compared for scheme in waived) else ", predictions not compared"
        words.append(f"in {', '.join(scheme.scheme for scheme in waived)} by waiver only{compared}")
    reported = any(not row.checked for row in rows)
    return "; ".join(words or ["nothing was judged"]) + (
        f" (reported; {setting('deploy')} makes checks of it)" if reported else ""
    )


def _with_figures(scheme: SchemeFitness) -> str:
    """A scheme with what it does to predictions, and what of it was not looked at."""
    agreement = [f"top-1 agreement {scheme.effect.top1_agreement:.1%}"] if scheme.effect else []
    said = "; ".join([*agreement, *([scheme.unchecked] if scheme.unchecked else [])])
    return f"{scheme.scheme} ({said})" if said else scheme.scheme


def _grid(rows: Sequence[SchemeRow]) -> Grid:
    return Grid(
        columns=(
            Column(name="scheme"),
            Column(name="fits"),
            Column(name="inputs dB", right=True),
            Column(name="at"),
            *(Column(name=name, right=True) for name in ("zeroed", "weights dB", "KL", "top-1")),
        ),
        rows=[_cells(row) for row in rows],
    )


def _cells(row: SchemeRow) -> list[str | Text]:
    scheme = row.fitness
    effect, lowest = scheme.effect, scheme.lowest
    return [
        scheme.scheme,
        _fits(scheme),
        _decibel(lowest),
        lowest[1].removeprefix("layers.") if lowest else "",
        _share(row.zeroed),
        _decibel(scheme.lowest_weight),
        _figure(effect.mean_kl) if effect else "-",
        f"{effect.top1_agreement:.1%}" if effect else "-",
    ]


def _fits(scheme: SchemeFitness) -> Text:
    unknown = "yellow" if scheme.holds else "bold red"
    return Text(scheme.fits, style=_STYLES.get(scheme.fits, unknown))


def _decibel(lowest: tuple[float, str] | None) -> str:
    if lowest is None:
        return "-"
    return "none" if math.isnan(lowest[0]) else "exact" if lowest[0] == math.inf else f"{lowest[0]:.1f}"


def _figure(value: float) -> str:
    return f"{value:.2g}" if math.isfinite(value) else "NaN"


def _share(share: float | None) -> str:
    return "-" if share is None else "none" if math.isnan(share) else f"{share:.1%}"


def _words(row: SchemeRow) -> Iterator[str]:
    """What the verdict tells, of a scheme that is checked, is not told again."""
    scheme = row.fitness
    if scheme.unmeasured:
        yield f"{scheme.scheme}: {scheme.unmeasured}"
    if scheme.breaches and row.checked:
        yield f"{scheme.scheme} does not fit: {counted(len(scheme.breaches), 'check', 'fails', 'fail')}"
    elif scheme.breaches:
        more = f"; {counted(len(scheme.breaches) - 1, 'more breach')}" if len(scheme.breaches) > 1 else ""
        yield f"{scheme.scheme} does not fit: {worst_of(scheme.breaches).message.split('; fitness')[0]}{more}"
    if scheme.holds_by_waiver:
        yield f"{scheme.scheme} fits by waiver only: {counted(len(scheme.waived), 'check', 'is waived', 'are waived')}"
    for line in scheme.advice:
        yield f"  {line}"


def _notes(portrait: Portrait) -> list[str]:
    provenance, deployed = portrait.provenance, portrait.provenance.deployed
    lines = [
        "inputs dB, weights dB: the lowest SQNR of any linear layer's input and weight. zeroed: largest share of the"
        " entries of one of them that become 0."
    ]
    if provenance.sampling > 1:
        lines.append(
            f"One evaluation token in {provenance.sampling} was quantized; static scales of a single tensor are"
            " exact, over all of them."
        )
    if deployed and deployed.samples:
        lines.append(
            f"Ranges, static scales and predictions are of {counted(deployed.samples, 'sample')} with"
            f" {' or '.join(deployed.added)} too ({grouped(deployed.tokens)} tokens)."
        )
    if not provenance.predicts:
        lines.append("Predictions were not compared: this architecture has no next-token distribution.")
    return lines
