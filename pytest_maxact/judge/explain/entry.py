"""One thing that can be explained, as plain data, and the answers to a breach that many of them share. Settings in
these texts are marked, for a door to word.
"""

from dataclasses import dataclass

from pytest_maxact.errors import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`name` as it stands in ids; `group`: what sort of thing it is; `what` begins with a sentence that says it in
    short; `todo`: pairs of a cause and what to do about it, the likeliest first.
    """

    name: str
    group: str
    what: str
    unit: str
    measured: str
    breach: str
    todo: tuple[tuple[str, str], ...]

    @property
    def brief(self) -> str:
        """Its first sentence."""
        return self.what.partition(". ")[0].removesuffix(".")


SITE, METRIC, QUANTITY, SCHEME = "site", "metric", "quantity", "scheme"
GROUPS = {
    SITE: "sites: where it is read",
    METRIC: "metrics: what is held to a limit",
    QUANTITY: "quantities: what is told of a format or scheme, as in int8.max_abs.sqnr_db and W8A8.mean_kl",
    SCHEME: "schemes: how a deployment quantizes",
}
"""In the order in which they are listed."""

EXPORT = (
    "broken export",
    "compare it with what it was exported from: `maxact compare OLD NEW` names the first site where two Records part;"
    f" {setting('baseline')} makes checks of that. Then export, merge or save it again",
)
NEW_FAMILY = (
    "new family or shape",
    "the figures are of other models: state your own from Records that you accept, `maxact suggest RECORD"
    " --limits FILE`,"
    f" and judge by them with {setting('limits')} FILE",
)
EXPECTED = (
    "expected change",
    "a person loosens the limit and says why: by hand, or `maxact suggest RECORD --limits FILE --update all --loosen`,"
    " whose diff marks every loosening",
)
WAIVE = (
    "known, for a time",
    "waive it in the limits file: `waive: [{site: SITE, metric: METRIC, reason: WHY, owner: WHO, until:"
    " YYYY-MM-DD}]`; it"
    " is shown as waived, and fails again after that day",
)
NEVER_WAIVED = ("waive", "not possible: what is broken is never let pass; mend the checkpoint")
USUAL = (EXPORT, NEW_FAMILY, EXPECTED, WAIVE)
