"""Options that say what the figures are held to."""

from pytest_maxact.errors import setting
from pytest_maxact.settings.option import Option
from pytest_maxact.settings.parsers import choice_of, nonempty, positive_number, truth
from pytest_maxact.settings.places import place

JUDGING = (
    Option(
        name="limits",
        metavar="FILE",
        parse=place,
        is_path=True,
        measures=False,
        help="limits file (default: the shipped thresholds.yaml)",
    ),
    Option(
        name="family",
        metavar="NAME",
        parse=nonempty,
        measures=False,
        help="judge by this family's limits, or `generic` (default: by model_type)",
    ),
    Option(
        name="baseline",
        metavar="RECORD_OR_MODEL",
        parse=place,
        is_path=True,
        measures=False,
        repeatable=True,
        help=(
            "compare every site with an earlier Record, or with a checkpoint that is measured likewise; may be given"
            " several times"
        ),
    ),
    Option(
        name="source",
        metavar="MODEL_OR_RECORD",
        parse=place,
        is_path=True,
        measures=False,
        help=(
            "the 16-bit checkpoint that this artifact was made from: its weights, activations and predictions are held"
            " against it; of a Record of it activations alone"
        ),
    ),
    Option(
        name="horizon",
        metavar="STEP",
        parse=positive_number,
        measures=False,
        help="of a series: warn of maxima whose growth, continued, crosses a limit before this training step",
    ),
    Option(
        name="replay",
        metavar="FILE",
        parse=place,
        is_path=True,
        measures=False,
        help="judge a saved Record; no model is loaded; a pattern for a series of them",
    ),
    Option(
        name="update",
        metavar="new|all",
        parse=choice_of("new", "all"),
        measures=False,
        help=(
            f"write limits for what has none (new), or for everything (all), to {setting('limits')} FILE; refused in CI"
        ),
    ),
    Option(
        name="loosen",
        parse=truth,
        measures=False,
        help=f"with {setting('update')} all: also write limits that let more pass than those that are there",
    ),
    Option(
        name="strict",
        parse=truth,
        measures=False,
        help="refuse to judge on too little text, which is a warning otherwise",
    ),
    Option(
        name="close",
        metavar="warn|fail",
        parse=choice_of("warn", "fail"),
        measures=False,
        help="what keeps its limit, but too closely to call: a warning (default), or a failure",
    ),
)
