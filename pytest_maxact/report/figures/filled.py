"""A spec and its data in, the same without layers that none of the data reaches out: a browser complains of a scale
that it finds nothing for.

Guards that a layer goes only where this is known of its filters, which are read as far as they are plain, and where
nothing that a reader does hangs on it.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_Rows = Sequence[Mapping[str, Any]]
_PLAIN = re.compile(r"(!?)datum\.(\w+)|isValid\(datum\.(\w+)\)|datum\.(\w+) (===|!==) '([^'\\]*)'")


def filled(spec: Mapping[str, Any], datasets: Mapping[str, _Rows]) -> dict[str, Any]:
    """Keeps a layer of every chart that has any."""
    held = {view for param in spec.get("params", ()) for view in param.get("views", ())}
    found: dict[str, Any] = _filled(spec, datasets, "", held)
    return found


def _filled(part: Any, datasets: Mapping[str, _Rows], inherited: str, held: set[str]) -> Any:
    if isinstance(part, list):
        return [_filled(one, datasets, inherited, held) for one in part]
    if not isinstance(part, Mapping):
        return part
    named = (part.get("data") or {}).get("name", inherited)
    new = {key: _filled(value, datasets, named, held) for key, value in part.items()}
    if isinstance(part.get("layer"), list):
        kept = [one for one in new["layer"] if one.get("name") in held or _reaches(one, datasets, named)]
        new["layer"] = kept or new["layer"][:1]
    return new


def _reaches(layer: Mapping[str, Any], datasets: Mapping[str, _Rows], inherited: str) -> bool:
    """Whether any row may be left of its data, or it is not known what its data are."""
    rows = datasets.get((layer.get("data") or {}).get("name", inherited))
    if rows is None or layer.get("params"):
        return True
    left, made = list(rows), set[str]()
    for step in layer.get("transform", ()):
        if "calculate" in step:
            made.add(step["as"])
            continue
        if "filter" not in step:
            break
        if holds := _condition(step["filter"], made):  # another one leaves fewer, and none that is not here
            left = [row for row in left if holds(row)]
    return bool(left)


def _condition(said: object, made: set[str]) -> Callable[[Mapping[str, Any]], bool] | None:
    """What a filter asks of a row that is plain, or several such at once; None for another, and for one of a field that
    is made on the way.
    """
    each = [_plain(one, made) for one in said.split(" && ")] if isinstance(said, str) else []
    asked = [one for one in each if one is not None]
    if not asked or len(asked) < len(each):
        return None
    return lambda row: all(holds(row) for holds in asked)


def _plain(said: str, made: set[str]) -> Callable[[Mapping[str, Any]], bool] | None:
    found = _PLAIN.fullmatch(said)
    if found is None:
        return None
    negated, flag, valid, field, sign, text = found.groups()
    if (flag or valid or field) in made:
        return None
    if flag:
        return lambda row: bool(row.get(flag)) is not bool(negated)
    if valid:
        return lambda row: row.get(valid) is not None and not _is_nan(row[valid])
    return lambda row: (row.get(field) == text) is (sign == "===")


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
