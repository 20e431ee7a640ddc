"""What the static scales of an artifact cost where they were held against what was measured, in a line."""

from collections.abc import Sequence
from math import inf

from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.static import HeldScale
from pytest_maxact.report.terminal.screen import Text


def static_words(scales: Sequence[HeldScale]) -> Text:
    """How many there are, and the one that costs most; those that reach least and most of what was met."""
    if not scales:
        return Text("static ones are called for, and none is of anything that was read", style="bold red")
    held = counted(sum(one.scales for one in scales), "static one")
    told = [one for one in scales if one.is_told]
    tight, wide = max(scales, key=lambda one: one.overflow), max(scales, key=lambda one: one.spare)
    worst = min(told, key=lambda one: one.sqnr_db if one.sqnr_db == one.sqnr_db else -inf, default=None)
    at = f"; SQNR {worst.sqnr_db:.1f} dB and more (least in {worst.site})" if worst else ""
    return Text(
        f"{held} held against what was met{at}; the largest entry is {tight.overflow:.3g} of what the tightest reaches "
        f"({tight.site}), and the widest reaches {wide.spare:.3g} times it ({wide.site})"
    )
