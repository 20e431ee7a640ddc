"""What a page carries in it: specs and rows of figures as JSON, scripts with their hashes, and the policy by which a
browser runs these and asks no network for anything.

Guards that no text ends the element that it stands in, and that what a name holds is shown, never obeyed.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pytest_maxact.errors import Words, worded
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.theme import Theme, config_of
from pytest_maxact.report.html.shapes import Drawing
from pytest_maxact.report.libraries import missing

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_THEMES: tuple[Theme, ...] = ("light", "dark", "print")


def drawings_of(figures: Iterable[Figure], words: Words) -> tuple[Drawing, ...]:
    """Figures as a page embeds them."""
    return tuple(_drawing(number, one, words) for number, one in enumerate(figures, 1))


def _drawing(number: int, one: Figure, words: Words) -> Drawing:
    data = {name: _of_rows(rows, one.rows) or _columns(rows) for name, rows in one.spec.get("datasets", {}).items()}
    spec = {**one.spec, "datasets": data}
    return Drawing(
        name=one.name if _NAME.fullmatch(one.name) else f"figure-{number}",
        title=one.title,
        caption=one.caption,
        alternative=one.alternative,
        spec=script_json(spec, words),
        rows=script_json(_columns(one.rows), words),
        count=len(one.rows),
    )


def _of_rows(data: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Data of a spec as fields of the figure's own rows, which stand beside it; None where they are something else."""
    fields = dict.fromkeys(name for row in data for name in row)
    leaned = ({name: row[name] for name in fields if row.get(name) not in (None, "")} for row in rows)
    same = len(data) == len(rows) and all(
        {name: value for name, value in one.items() if value not in (None, "")} == other
        for one, other in zip(data, leaned, strict=True)
    )
    return {"fields": list(fields)} if same else None


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows with the names of their fields once: a third of the size."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {"columns": names, "rows": [[row.get(name) for name in names] for row in rows]}


def script_json(data: object, words: Words) -> str:
    """JSON that may stand in a script element: nothing in it opens or closes one."""
    text = json.dumps(_told(data, words), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _told(data: Any, words: Words) -> Any:
    """The same with texts as people are shown them, and null for what is no finite number."""
    if isinstance(data, str):
        return worded(data, words)
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, Mapping):
        return {name: _told(value, words) for name, value in data.items()}
    return [_told(value, words) for value in data] if isinstance(data, (list, tuple)) else data


def themed() -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The config of every figure, with a name in place of each colour that differs between themes, and what those names
    stand for in each: a page changes its theme without drawing anything again.
    """
    colours: dict[str, dict[str, str]] = {theme: {} for theme in _THEMES}

    def merged(values: Sequence[Any]) -> Any:
        first = values[0]
        if isinstance(first, dict):
            return {name: merged([value[name] for value in values]) for name in first}
        if isinstance(first, str) and first.startswith("#") and len(set(values)) > 1:
            name = next(
                (
                    known
                    for known in colours["light"]
                    if all(colours[theme][known] == value for theme, value in zip(_THEMES, values, strict=True))
                ),
                f"--chart-{len(colours['light'])}",
            )
            for theme, value in zip(_THEMES, values, strict=True):
                colours[theme][name] = value
            return f"var({name})"
        return first

    return merged([config_of(theme) for theme in _THEMES]), colours


@lru_cache(maxsize=1)
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed in one script. Raises InputError where the library that has them is missing."""
    try:
        import vl_convert
    except ImportError as error:
        raise missing("the page takes", "vl_convert") from error
    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def policy(scripts: Iterable[str]) -> str:
    """What a browser may do for a page: run these scripts and no other, style what stands there, fetch nothing. Vega
    interprets expressions, so that none is ever compiled.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
        " form-action 'none'"
    )
