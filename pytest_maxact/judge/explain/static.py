"""What the metrics of static scales are: an entry of each out."""

from collections.abc import Mapping

from pytest_maxact.errors import setting
from pytest_maxact.judge.explain.entry import METRIC, WAIVE, Entry
from pytest_maxact.record.metrics.metric import Kind

_MEASURED = (
    "from the exact histogram of what the scale quantizes, of all text; where one of several tensors of a site reaches"
    f" less it is told by its reach alone. Read for these alone where {setting('sites')} is left out; where it is"
    " given, by deploy for inputs, attention for the cache, all for both"
)
_NARROW = (
    "calibrated too narrowly",
    "calibrate again on text like that of deployment, with special tokens and chat template; the finding names the"
    " scale that would do",
)
_WIDE = (
    "calibrated too widely, or not at all",
    "calibrate again: the scale was taken from other values (of a merged or unnormalized tensor, an outlier of one"
    " sample), or is what stands where none was",
)


def _entry(name: str, what: str, unit: str, breach: str, *todo: tuple[str, str]) -> Entry:
    return Entry(name=name, group=METRIC, what=what, unit=unit, measured=_MEASURED, breach=breach, todo=(*todo, WAIVE))


STATIC_ENTRIES: Mapping[Kind, Entry] = {
    Kind.STATIC_SQNR: _entry(
        "static_sqnr_db",
        "SQNR of what a static scale of the artifact quantizes, at that scale. Of NVFP4 and of experts at most: groups,"
        " or experts of smaller inputs, may lose more.",
        "dB",
        "What a runtime computes with is noise to a good part: answers degrade or are random.",
        _NARROW,
        _WIDE,
    ),
    Kind.STATIC_LOSS: _entry(
        "static_loss_db",
        "SQNR that a static scale loses to the one that would do: to the exact maximum, or, of integers, the best clip."
        " Of floats it is against what any scale gives that clips nothing, and counts what all but the largest"
        " hundredth of the entries lose. Tells a scale that is wrong from a format that is coarse.",
        "dB",
        "The scale, and not the format, costs this: another one would be better by so much.",
        _NARROW,
        _WIDE,
    ),
    Kind.STATIC_CLIP: _entry(
        "static_clip_rate",
        "Share of the entries beyond what a static scale reaches. A runtime clamps them to it, or, without a clamp,"
        " makes them NaN.",
        "a share, 0 to 1",
        "Calibration met smaller values than real text has.",
        _NARROW,
    ),
    Kind.STATIC_OVERFLOW: _entry(
        "static_overflow",
        "Largest entry over what a static scale reaches, text as deployed included. Above 1 it is clipped.",
        "a factor",
        "An outlier that carries a function (the first token's, as a rule) is cut to a fraction of itself, though it is"
        " too rare to show in SQNR.",
        _NARROW,
    ),
    Kind.STATIC_SPARE: _entry(
        "static_spare",
        "What a static scale reaches over the largest entry, text as deployed included. A cache's scale of exactly 1.0,"
        " which stands where none was calibrated, is told by SQNR alone.",
        "a factor",
        "Levels are spent on values that never come; of integers nearly all entries become zero.",
        _WIDE,
    ),
}
