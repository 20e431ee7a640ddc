"""What writes massive channels, for people: each channel, the entry that proved to be its cause, and what was tried."""

from collections.abc import Iterator, Sequence

from pytest_maxact.record.cause import Cause, Trial
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Screen, Text, short, to_text

NONE = "no channel of the residual stream stands far above the others: there is no single cause to look for"
_SHOWN = 6


def render_causes(causes: Sequence[Cause], screen: Screen) -> str:
    return to_text([part for cause in causes for part in _parts(cause)] or [Text(NONE)], screen)


def _parts(cause: Cause) -> Iterator[Part]:
    yield Text(
        f"channel {cause.channel} arises in {cause.site}: {cause.largest:.6g}, {cause.ratio:.0f} x the median channel, "
        f"at token {cause.position} {cause.token!r} of {cause.sample}",
        style="bold",
    )
    found = cause.found
    if found is None:
        yield Text("  no single entry writes it: without the one that counts most, half of it or more stays")
    else:
        yield Text(
            f"  written by the {found.kind} {found.called} = {found.value:.6g}, "
            f"{found.outlier:.0f} x the root mean square of its tensor, {found.share:.0%} of it"
        )
        yield Text(
            f"  set to zero: the channel {found.without:.6g}, M {cause.m:.6g} -> {found.m:.6g}{_predicts(found)}"
        )
        if found.kept:
            rounded = ", ".join(f"{scheme} {kept:.1%}" for scheme, kept in found.kept.items())
            yield Text(f"  of it rounding leaves: {rounded}")
        else:
            yield Text("  schemes leave it in 16 bits")
    yield Grid(
        columns=[Column(name="  tried", fold=True), *(Column(name=name, right=True) for name in _COLUMNS)],
        rows=[_row(trial) for trial in cause.trials[:_SHOWN]],
        gap=2,
    )


_COLUMNS = ("value", "share", "channel without", "M without", "KL")


def _row(trial: Trial) -> tuple[str, ...]:
    kl = "" if trial.mean_kl is None else f"{trial.mean_kl:.3g}"
    return f"  {trial.called}", f"{trial.value:.4g}", f"{trial.share:.0%}", short(trial.without), short(trial.m), kl


def _predicts(trial: Trial) -> str:
    if trial.mean_kl is None or trial.top1 is None:
        return ""
    return f"; predictions part by {trial.mean_kl:.3g} nats, {trial.top1:.1%} of first choices stay"
