"""Options that say which figures are made of it."""

from pytest_maxact.settings.option import Option
from pytest_maxact.settings.parsers import choice_of, nonempty, positive_number, scheme_names, truth
from pytest_maxact.settings.places import place

FIGURES = (
    Option(
        name="sites",
        metavar="WHICH",
        parse=choice_of("auto", "paper", "deploy", "attention", "all"),
        help=(
            "paper; auto (default): the same, and of a quantized artifact what its static scales quantize, for these"
            " alone; deploy: the inputs of linear layers too, which is what low-bit kernels quantize; attention:"
            " queries, keys, values and the largest scores too; all: both"
        ),
    ),
    Option(
        name="schemes",
        metavar="NAMES",
        parse=scheme_names,
        help=(
            "quantize the inputs of linear layers and their weights with these schemes and report the error, e.g."
            " W8A8,FP8_DYNAMIC"
        ),
    ),
    Option(
        name="effect",
        metavar="NAMES",
        parse=scheme_names,
        help="run evaluation samples under these schemes and report what they do to predictions (runs the LM head)",
    ),
    Option(
        name="stress",
        parse=truth,
        help=(
            "also run inputs that no corpus has (every first token, BOS, delimiters, repeated, rare and random tokens,"
            " abused chat templates, whole contexts) and report their maxima apart; a NaN or infinity there fails"
        ),
    ),
    Option(
        name="hunt",
        metavar="SITE",
        parse=nonempty,
        repeatable=True,
        help=(
            "search for inputs that reach more at this site than the corpus does (carrier: the site that holds M); may"
            " be given several times; a NaN or infinity that is found fails"
        ),
    ),
    Option(name="hunt-seconds", metavar="S", parse=positive_number, help="how long to search (default: 300)"),
    Option(
        name="hunt-out",
        metavar="FILE",
        parse=place,
        is_path=True,
        help="where the worst inputs go, as a corpus file, those of a series into the folder FILE",
    ),
    Option(
        name="deploy",
        metavar="NAMES",
        parse=scheme_names,
        measures=False,
        help="make fitness for these schemes a set of checks, with the limits of `deploy:` in the limits file",
    ),
    Option(
        name="repeat",
        metavar="N",
        parse=positive_number,
        help=(
            "measure N samples again in other batches, threads, attention and devices, and keep how far figures move:"
            " no smaller difference from a baseline is a breach"
        ),
    ),
)
