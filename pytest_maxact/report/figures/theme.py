"""What figures look like where they stand: a page that is light or dark, or a print; the Vega-Lite config of each.

A spec names colours only where they carry meaning (Okabe and Ito's, which people who confuse red and green can tell
apart, and viridis and cividis); ink, lines and what is pale are the theme's, by the styles named here.
"""

from typing import Any, Literal

Theme = Literal["light", "dark", "print"]
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
GREY = "#8c959f"
"""What is in the background of the figure itself, on white and on black."""
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)
"""In the order in which lines take them."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")
"""Of points, in the same order: as many colours and shapes again give no pair of both before the 25th."""
OWN, FAMILY, BREACH = BLUE, ORANGE, VERMILLION
"""The model itself, published ones of its family, and what breaks a limit."""
INK, PALE, ZERO = "ink", "pale", "zero"
"""Styles of marks: text and rules that are read; lines in the background; cells of nothing but zeros."""
_INKS = {
    "light": {"ink": "#1f2328", "soft": "#59636e", "grid": "#d8dee4", "pale": "#b6bec6", "zero": "#eceff2"},
    "dark": {"ink": "#e6edf3", "soft": "#9aa4ae", "grid": "#343b43", "pale": "#59626b", "zero": "#2a3037"},
    "print": {"ink": "#000000", "soft": "#333333", "grid": "#dddddd", "pale": "#bbbbbb", "zero": "#eeeeee"},
}
FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
PRINT_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"


def config_of(theme: Theme) -> dict[str, Any]:
    """The `config` of a spec, or of vega-embed, for a theme."""
    ink = _INKS[theme]
    sizes = {"labelFontSize": 12, "titleFontSize": 13} if theme == "print" else {}
    words = {
        "labelColor": ink["soft"],
        "titleColor": ink["ink"],
        "titleFontWeight": "normal",
        "labelLimit": 220,
        **sizes,
    }
    return {
        "background": "white" if theme == "print" else None,
        "font": PRINT_FONT if theme == "print" else FONT,
        "view": {"stroke": None},
        "axis": {**words, "gridColor": ink["grid"], "domainColor": ink["grid"], "tickColor": ink["grid"]},
        "legend": {**words, "orient": "top", "symbolLimit": 60, "gradientLength": 180},
        "title": {"color": ink["ink"], "anchor": "start", "fontWeight": "normal"},
        "header": words,
        "text": {"color": ink["ink"]},
        "rule": {"color": ink["soft"]},
        "style": {
            INK: {"color": ink["ink"], "stroke": ink["ink"], "fill": ink["ink"]},
            PALE: {"color": ink["pale"], "stroke": ink["pale"]},
            ZERO: {"fill": ink["zero"], "stroke": ink["grid"]},
        },
    }
