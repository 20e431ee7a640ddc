"""Options that say what is kept, and where."""

from pytest_maxact.settings.option import Option
from pytest_maxact.settings.parsers import choice_of, truth
from pytest_maxact.settings.places import place

KEEPING = (
    Option(
        name="cache",
        metavar="DIR",
        parse=place,
        is_path=True,
        help=(
            "keep Records here by the content they were measured from (default: in .pytest_cache for a series or a"
            " baseline model, else nowhere)"
        ),
    ),
    Option(
        name="resume",
        metavar="on|off",
        parse=choice_of("on", "off"),
        help="on (default): a measurement that was killed goes on where it was; off: it begins anew and keeps nothing",
    ),
    Option(
        name="save",
        metavar="FILE",
        parse=place,
        is_path=True,
        help="write the Record of the pass to FILE, those of a series into the folder FILE",
    ),
    Option(
        name="slim", parse=truth, help="write Records without histograms: figures only, for verdicts and comparisons"
    ),
    Option(
        name="verdict",
        metavar="FILE",
        parse=place,
        is_path=True,
        measures=False,
        help=(
            "write what the gate found to FILE, last and whole, as a statement that a release rests on; `maxact verify`"
            " holds it against the artifact"
        ),
    ),
    Option(
        name="json-report",
        metavar="FILE",
        parse=place,
        is_path=True,
        measures=False,
        help="write all that a program may ask of the run to FILE, by a published JSON Schema (report.schema.json)",
    ),
    Option(
        name="html",
        metavar="FILE",
        parse=place,
        is_path=True,
        measures=False,
        help=(
            "write a page to look at to FILE: verdict, breaches, figures, every site; one file, which asks nothing of"
            " any network (takes pytest-maxact[report])"
        ),
    ),
    Option(
        name="sarif",
        metavar="FILE",
        parse=place,
        is_path=True,
        measures=False,
        help="write what does not hold, is waived or could not be judged to FILE as SARIF 2.1.0, by lines of limits",
    ),
    Option(
        name="codequality",
        metavar="FILE",
        parse=place,
        is_path=True,
        measures=False,
        help="write the same to FILE as a code quality report of GitLab",
    ),
    Option(
        name="card",
        metavar="FILE",
        parse=place,
        is_path=True,
        measures=False,
        help=(
            "write verdict, M and low-bit figures into the model card FILE: a block of its text, and a result of its"
            " metadata; all else in it stays"
        ),
    ),
    Option(
        name="bom",
        metavar="FILE",
        parse=place,
        is_path=True,
        measures=False,
        help="write the same to FILE as a fragment of a bill of materials (CycloneDX, JSON)",
    ),
    Option(
        name="github",
        metavar="auto|on|off",
        parse=choice_of("auto", "on", "off"),
        measures=False,
        help=(
            "auto (default): on a runner of GitHub Actions, append the summary of the step and print annotations; on:"
            " elsewhere too; off: never"
        ),
    ),
)
