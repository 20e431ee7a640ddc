"""Counts in words: a number and a noun in, `1 check` or `3 checks` out. Guard: what counts agrees with its number."""

_PLURALS = {"matrix": "matrices"}


def plural(number: int, noun: str) -> str:
    """The noun as it stands after so many: the last word of it is bent."""
    *before, last = noun.split(" ")
    if number == 1:
        return noun
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        return " ".join([*before, f"{last[:-1]}ies"])
    bent = _PLURALS.get(last) or f"{last}es" * last.endswith(("ch", "s", "x")) or f"{last}s"
    return " ".join([*before, bent])


def counted(number: int, noun: str, one: str = "", many: str = "") -> str:
    """`1 check`, `3 checks`; with a verb as it stands after one and after several, `1 check holds`, `3 checks hold`."""
    verb = one if number == 1 else many
    return f"{number} {plural(number, noun)}{f' {verb}' if verb else ''}"


def counted_of(part: int, whole: int, noun: str, one: str = "", many: str = "") -> str:
    """`1 of 3 checks`, of a single one `the one check`; with a verb as it stands after one and after several."""
    verb = one if part == 1 else many
    share = f"the one {noun}" if part == whole == 1 else f"{part} of {counted(whole, noun)}"
    return f"{share}{f' {verb}' if verb else ''}"
