"""Names that a page, a terminal, a workflow command or a table of data must show as text: each by what it attacks."""

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
    "long": "x" * 10_000,
}  # fmt: skip
"""A name may hold several: these are the ones that somebody thought of, not all there are."""
