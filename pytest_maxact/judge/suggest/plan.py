"""What of a limits file is to be set, so that it limits one shape by evidence: the figures that are due in, values and
their places out.

Guard: figures of other text or another dtype are not set beside those that are there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pytest_maxact.errors import InputError, setting
from pytest_maxact.judge.limits.limit import CARRIER
from pytest_maxact.judge.limits.schema.family import Shape
from pytest_maxact.judge.limits.schema.runs import in_runs
from pytest_maxact.judge.suggest.figures import Figures, written_headroom
from pytest_maxact.judge.suggest.ground import Ground
from pytest_maxact.record.comparability import is_same_origin

Location = tuple[str | int, ...]
_RULE = {"site": CARRIER, "policy": "max_abs"}


def edits(ground: Ground, figures: Figures, data: Mapping[str, Any]) -> Iterator[tuple[Location, Any]]:
    """Places in the file's plain `data`, and the values to be set there, one after the other."""
    if not figures:
        return
    if ground.shape is None:
        yield _entry(ground, data, _new_shape(ground, figures))
        return
    anew = ground.everything and not figures.held_back
    if not anew:
        _require_one_footing(ground, ground.shape)
    place: Location = ("families", ground.name, "shapes", ground.index)
    raw = data["families"][ground.name]["shapes"][ground.index]
    yield from _checkpoints(ground, ground.shape, (*place, "checkpoints"), anew)
    if anew:
        yield (*place, "source"), ground.evidence.source
        yield (*place, "measured"), asdict(ground.evidence.measured)
    if (headroom := written_headroom(ground, figures.headroom, anew=anew)) is not None:
        yield (*place, "headroom"), headroom
    for kind, figure in figures.limits.items():
        yield (*place, "limits", kind), figure
        if ground.everything and kind in ground.shape.by_layer:
            yield (*place, "by_layer", kind), in_runs(ground.evidence.by_layer(kind))
    if "layer_limits" not in raw and figures.layer_limits:
        yield (*place, "layer_limits"), figures.layer_limits
    else:
        for pattern, by_kind in figures.layer_limits.items():
            yield from _pattern_edits((*place, "layer_limits", pattern), raw["layer_limits"].get(pattern), by_kind)
    if figures.sqnr_db is not None:
        yield _int8_edit((*place, "int8"), raw.get("int8"), figures.sqnr_db)


def _entry(ground: Ground, data: Mapping[str, Any], shape: dict[str, Any]) -> tuple[Location, Any]:
    """Where a new shape goes, with as much around it as the file lacks."""
    families = data.get("families", {})
    family = {**({"model_types": [ground.evidence.identity.model_type]} if ground.is_new else {}), "shapes": [shape]}
    if "families" not in data:
        return ("families",), {ground.name: family}
    if ground.name not in families:
        return ("families", ground.name), family
    if "shapes" not in families[ground.name]:
        return ("families", ground.name, "shapes"), [shape]
    return ("families", ground.name, "shapes", ground.index), shape


def _new_shape(ground: Ground, figures: Figures) -> dict[str, Any]:
    evidence = ground.evidence
    shape: dict[str, Any] = {
        "name": evidence.checkpoints[0],
        "checkpoints": list(evidence.checkpoints),
        "source": evidence.source,
        "measured": asdict(evidence.measured),
        "layers": evidence.identity.layers,
        "hidden_size": evidence.identity.hidden_size,
        "headroom": written_headroom(ground, figures.headroom, anew=True),
        "limits": dict(figures.limits),
        "layer_limits": {pattern: dict(by_kind) for pattern, by_kind in figures.layer_limits.items()} or None,
        "int8": {**_RULE, "sqnr_db": figures.sqnr_db} if figures.sqnr_db is not None else None,
    }
    return {key: value for key, value in shape.items() if value is not None}


def _require_one_footing(ground: Ground, shape: Shape) -> None:
    """Raise InputError where figures would stand beside others that were measured on something else, and the file
    would say that all were.
    """
    if shape.measured is None:
        return
    stated, seen = shape.measured, ground.evidence.measured
    if stated.corpus == seen.corpus and is_same_origin(stated, seen):
        return
    there, here = (f"{on.tokens} tokens of {on.corpus} ({on.sha256}) in {on.dtype}" for on in (stated, seen))
    raise InputError(
        f"shape {shape.name} of family {ground.name} was measured on {there}, these Records on {here}; nothing was "
        "written\n"
        f"  give Records of the same text and dtype, or set every figure of the shape with {setting('update')} all, and"
        f" {setting('loosen')} where that loosens some"
    )


def _checkpoints(ground: Ground, shape: Shape, place: Location, anew: bool) -> Iterator[tuple[Location, Any]]:
    """Where figures of single checkpoints are stated, a list of names would lose them: their names stay as they
    are, unless all figures of the shape are set anew.
    """
    if anew:
        yield place, list(ground.evidence.checkpoints)
    elif not shape.figures_of_checkpoints:
        yield place, list(dict.fromkeys((*shape.checkpoints, *ground.evidence.checkpoints)))


def _pattern_edits(
    place: Location, stated: Mapping[str, Any] | None, by_kind: Mapping[str, float]
) -> Iterator[tuple[Location, Any]]:
    if stated is None:
        yield place, dict(by_kind)
    else:
        yield from (((*place, kind), figure) for kind, figure in by_kind.items())


def _int8_edit(place: Location, stated: Any, figure: float) -> tuple[Location, Any]:
    """A rule may stand alone or in a list."""
    rule = {**_RULE, "sqnr_db": figure}
    if not stated:
        return place, rule
    rules = [stated] if isinstance(stated, dict) else stated
    index = next((i for i, known in enumerate(rules) if {**_RULE, **known} | _RULE == {**_RULE, **known}), None)
    if index is None:
        return (place, [*rules, rule]) if isinstance(stated, dict) else ((*place, len(rules)), rule)
    return ((*place, "sqnr_db") if isinstance(stated, dict) else (*place, index, "sqnr_db")), figure
