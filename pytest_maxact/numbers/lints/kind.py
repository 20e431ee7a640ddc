"""A kind of finding: its check, what it means, what a runtime makes of it, how it is mended and where that is told."""

from dataclasses import dataclass

_HUB = "https://github.com/"
AGAIN = "export the checkpoint again"


@dataclass(frozen=True, slots=True, kw_only=True)
class LintKind:
    """A kind of finding: the `metric` of its check, `means` in words, what a `runtime` makes of it, how to `mend` it,
    and the public `source` of what is said of the runtime. A `remark` turns nothing red.
    """

    metric: str
    means: str
    runtime: str
    mend: str
    source: str
    remark: bool = False


def kind(metric: str, means: str, runtime: str, mend: str, source: str, *, remark: bool = False) -> LintKind:
    return LintKind(metric=metric, means=means, runtime=runtime, mend=mend, source=_HUB + source, remark=remark)
