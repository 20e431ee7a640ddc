"""Figures as files for papers and cards: a figure in, PNG, SVG or PDF out, in print colours; and how such files know
their own kind.

Guards that nothing is fetched: fonts are those of the library and the system, and a spec that names an address is
refused by the library. A menu cannot be chosen from in print, so each of its options is a file.
"""

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pytest_maxact.record.output import Kind
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.theme import config_of

Form = Literal["png", "svg", "pdf"]
FORMS: tuple[Form, ...] = ("png", "svg", "pdf")
_WIDTH, _SCALE = 600, 2.5
"""Pixels of a figure's own plot, and how many of a PNG's there are to each."""
_SAID = b"a figure of pytest-maxact"
_ENDS = 4096


def _is_one(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return _SAID in content[:_ENDS] or _SAID in content[-_ENDS:]


FIGURE = Kind(called="the figure", is_one=_is_one)


def printed(figure: Figure, form: Form) -> Iterator[tuple[str, bytes]]:
    """The files of a figure, by their names: one, or one for each option of its menu."""
    for name, spec in _specs(figure):
        yield f"{name}.{form}", rendered(spec, form)


def _specs(figure: Figure) -> Iterator[tuple[str, dict[str, Any]]]:
    params = figure.spec.get("params", [])
    menu = next((param for param in params if "bind" in param and isinstance(param["bind"], Mapping)), None)
    still = [param for param in params if param is not menu]
    if menu is None:
        yield figure.name, {**figure.spec, "params": still}
        return
    labels = menu["bind"]["labels"]
    for place, label in enumerate(labels):
        name = f"{figure.name}-{place + 1}-{_slug(label)}" if len(labels) > 1 else figure.name
        yield name, {**figure.spec, "params": [*still, {"name": menu["name"], "value": place}]}


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", label).strip("-.")[:60].rstrip("-.")


def rendered(spec: Mapping[str, Any], form: Form) -> bytes:
    """A spec in print colours."""
    import vl_convert

    whole = {**spec, "config": config_of("print")}
    if "facet" not in whole:
        whole |= {"width": _WIDTH, "autosize": {"type": "pad"}}
    text = json.dumps(whole)
    nothing: list[str] = []
    if form == "png":
        png = vl_convert.vegalite_to_png(text, scale=_SCALE, allowed_base_urls=nothing)
        return _with_text(bytes(png))
    if form == "svg":
        svg = vl_convert.vegalite_to_svg(text, allowed_base_urls=nothing)
        return b"<!-- " + _SAID + b" -->\n" + str(svg).encode()
    return bytes(vl_convert.vegalite_to_pdf(text, allowed_base_urls=nothing)) + b"\n%" + _SAID + b"\n"


def _with_text(png: bytes) -> bytes:
    """A PNG with a chunk of text after its header, which is 33 bytes."""
    chunk = b"tEXtSoftware\x00" + _SAID
    framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:33] + framed + png[33:]
