"""Names that a page, a terminal, a workflow command or a table of data must show as text: each by what it attacks; and
what of a text a terminal or a CI system would obey, or nobody would see.
"""

import re
import unicodedata
from collections.abc import Iterator

from rich.cells import cell_len

NAMES = {
    "markup": "<script>document.title='owned'</script><img src=x onerror=alert(1)>",
    "closing": "</script></style></textarea>-->]]><!--",
    "quotes": "a\"b'c`d\\e${f}{{7*7}}{% raw %}",
    "lines": "first\nsecond\r\nthird\u2028fourth\x85fifth",
    "right_to_left": "abc\u202edcba\u2066x\u2069 \u05e9\u05dc\u05d5\u05dd",
    "emoji": "\U0001f469\u200d\U0001f680\U0001f3f4\U000e0067\U000e007f \u0301\u0301",
    "escapes": "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://x\x1b\\\x9b31m\x00\x08",
    "command": "::error file=x,line=1::owned%0A::set-output name=a::b",
    "group": "##[error]owned\n::stop-commands::x",
    "markdown": "| a | b |\n|---|\n[x](javascript:alert(1)) ![y](http://x/y.png) <details> @everyone #1 **b** ~~~",
    "formula": "=HYPERLINK(\"http://x\",\"y\")",
    "formulas": "\t=1+1",
    "signs": "@SUM(1) +1 -1",
    "rich": "[bold red]owned[/bold red] [link=http://x]y[/link]",
    "surrogate": "a\ud800b",
    "wide": "\u6f22\u5b57\uff21\u0e33\u00e9e\u0301\u2764\ufe0f\U0001f3f3\ufe0f\u200d\U0001f308",
    "unseen": "a\u200db\u00adc\u3164d\U000e0101e\u034ff\ufeffg",
    "long": "x" * 10_000,
}  # fmt: skip
"""A name may hold several: these are the ones that somebody thought of, not all there are."""
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\U000e0100-\U000e01ef]")
_OF_EMOJI = re.compile("(?<=[\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d(?=[\u2190-\u2bff\U0001f000-\U0001faff])")


def is_text(line: str) -> bool:
    """Whether all of a line is seen, and moves nothing: no control, no mark of direction, no half character. What makes
    one emoji of two is part of it.
    """
    kinds = {unicodedata.category(character) for character in _OF_EMOJI.sub("", line)}
    return not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} and not _UNSEEN.search(line)


def obeyed(text: str, width: int | None = None) -> Iterator[str]:
    """Lines that a terminal or a CI system would obey, or that are wider than `width` columns."""
    for line in text.split("\n"):
        if not is_text(line) or re.match(r"\s*::", line) or re.search(r"##\w*\[", line):
            yield line[:200]
        elif width is not None and cell_len(line) > width:
            yield f"{cell_len(line)} columns: {line[:200]}"
