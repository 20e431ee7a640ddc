"""What schemes cannot quantize, told by shapes alone: a model that may lie on the meta device, and its anatomy, in; a
refusal out, before any weights load.

Guard: a scheme that is to be gated, or to run, fits every linear layer; one of a cache, which a runtime sets for all of
a model, every layer that keeps one; and one that is reported something.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Tap
from pytest_maxact.checkpoint.sites.attention import head_width
from pytest_maxact.checkpoint.weights.stored import lies_in_out
from pytest_maxact.errors import InputError, MeasureError, setting
from pytest_maxact.numbers.caches import Cache, instead
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import kept_in_cache, ranges
from pytest_maxact.settings.settings import Settings

_FEW = 4


def refuse_shapes(model: nn.Module, anatomy: Anatomy, settings: Settings) -> None:
    """Raise InputError for the first scheme that was asked for and cannot be: naming it, where, why, and what can."""
    of_linears = any(SCHEMES[name].is_of_linears for name in settings.schemes_named)
    widths = list(_widths(model, anatomy.linears)) if of_linears else []
    run = {part for name in settings.effects_measured for part in SCHEMES[name].parts}
    for name in settings.schemes_named:
        _refuse_linears(name, widths, name in run)
        if (how := SCHEMES[name].cache) is not None:
            _refuse_cache(name, how, anatomy.taps)


def unkept(how: Cache, taps: Iterable[Tap]) -> Mapping[str, list[Tap]]:
    """The taps whose heads a cache cannot keep, by the reason; heads of a width that no module states are not known."""
    taps = list(taps)
    kept = {site.name for site in kept_in_cache(tap.site for tap in taps)}
    found: dict[str, list[Tap]] = {}
    for tap in taps:
        width = head_width(tap) if tap.site.name in kept else None
        if width is not None and (reason := how.refuses(width, tap.site.kind == "kv_latent")):
            found.setdefault(reason, []).append(tap)
    return found


def _widths(model: nn.Module, taps: Iterable[Tap]) -> Iterator[tuple[Tap, int]]:
    """How wide the rows of every weight are that an input of linear layers is multiplied with; of stacked matrices that
    do not tell their inputs from their outputs, nothing.
    """
    for tap in taps:
        for path in tap.weights:
            shape = model.get_parameter(path).shape
            try:
                yield tap, shape[-2] if lies_in_out(path, shape, tap, model) else shape[-1]
            except MeasureError:
                continue


def _refuse_linears(name: str, widths: Sequence[tuple[Tap, int]], runs: bool) -> None:
    operands = [how for how in (SCHEMES[name].activations, SCHEMES[name].weights) if how is not None]
    refused = [
        (tap, reason)
        for tap, width in widths
        if (reason := next((why for how in operands if (why := how.refuses(width))), ""))
    ]
    if not refused:
        return
    tap, reason = refused[0]
    if runs:
        raise InputError(
            f"{name} cannot quantize {tap.site.module} ({tap.site.name}): {reason}\n"
            f"  choose another scheme; {setting('schemes')} reports one without gating or running it"
        )
    if len(refused) == len(widths):
        raise InputError(
            f"{name} fits none of {counted(len(widths), 'weight')}, the first {tap.site.module} ({tap.site.name}):"
            f" {reason}\n  name other schemes with {setting('schemes')}"
        )


def _refuse_cache(name: str, how: Cache, taps: Sequence[Tap]) -> None:
    refused = unkept(how, taps)
    if not refused:
        return
    words = "; ".join(
        f"{_where(where)} {'has' if len({tap.site.layer for tap in where}) == 1 else 'have'} {reason}"
        for reason, where in refused.items()
    )
    kept = {site.name for site in kept_in_cache(tap.site for tap in taps)}
    widths = [
        (width, tap.site.kind == "kv_latent")
        for tap in taps
        if tap.site.name in kept and (width := head_width(tap)) is not None
    ]
    others = instead(name, widths)[:_FEW]
    raise InputError(
        f"{name} cannot keep the cache of this model: {words}\n  take {', '.join(others)}, or keep the cache in 16 bits"
    )


def _where(taps: Iterable[Tap]) -> str:
    layers = sorted({tap.site.layer or 0 for tap in taps})
    return f"layer{'s' if len(layers) > 1 else ''} {ranges(layers)}"
