"""The ends of help pages: what is typed, with what it is for, and the exit codes."""

from collections.abc import Mapping

Example = tuple[str, str]

EXIT_CODES = """\
exit codes:
  0  all of it holds, or was done
  1  a breach, or what could not be measured
  4  a request that is wrong: an option, a path, a limits file
  130, 141, 143  interrupted; nobody read on what it printed; asked to end (SIGTERM)"""
EXAMPLES: Mapping[str, tuple[Example, ...]] = {
    "": (
        ("maxact measure DIR -o run.safetensors", "measure a checkpoint, and keep its Record"),
        ("maxact judge run.safetensors", "judge it, without the model"),
        ("maxact compare old.safetensors run.safetensors", "where two checkpoints part"),
        ("maxact explain maxact::layers.3.hidden::max_abs", "what a check is, and what to do where it fails"),
    ),
    "measure": (
        ("maxact measure DIR -o run.safetensors", "on the built-in text"),
        ("maxact measure org/name --revision COMMIT -o run.safetensors", "of the hub"),
        ("maxact measure DIR -o deploy.safetensors --schemes W8A8,FP8 --effect W8A8,FP8", "and in low bits"),
        ("maxact measure DIR -o quick.safetensors --max-samples 50", "less text, a lower bound"),
    ),
    "judge": (
        ("maxact judge run.safetensors", "by the published limits of its family"),
        ("maxact judge run.safetensors --limits limits.yaml", "by your own"),
        ("maxact judge run.safetensors --baseline old.safetensors", "and against an earlier one"),
        ("maxact judge deploy.safetensors --deploy W8A8", "and for a low-bit scheme"),
        ("maxact judge run.safetensors --json", "for a program"),
    ),
    "report": (
        ("maxact report run.safetensors -o run.html", "one Record, judged by its family's limits"),
        ("maxact report run.safetensors --baseline old.safetensors -o run.html", "and against an earlier one"),
        ("maxact report runs/checkpoint-*.maxact.safetensors -o runs.html", "a series of them"),
    ),
    "verify": (
        ("maxact verify verdict.json DIR", "whether a release may rest on it"),
        ("maxact verify verdict.json DIR --no-waivers --max-age 30", "and accept less"),
    ),
    "card": (
        ("maxact card run.safetensors -o README.md", "verdict, M and what it comes from, all else as it is"),
        ("maxact card deploy.safetensors -o README.md --bom bom.json", "and a fragment of a bill of materials"),
    ),
    "show": (
        ("maxact show run.safetensors", "its figures, without limits"),
        ("maxact show run.safetensors --json", "for a program"),
    ),
    "trust": (
        ("maxact trust run.safetensors", "whether its maxima still grow, and what other text would give"),
        ("maxact trust run.safetensors --json", "for a program, site by site"),
        ("maxact trust run.safetensors --paper-bootstrap", "M of subsets, as the paper has them"),
    ),
    "compare": (("maxact compare old.safetensors new.safetensors", "layer by layer"),),
    "series": (
        ("maxact series runs/checkpoint-*.maxact.safetensors", "how a run develops"),
        ("maxact series runs/checkpoint-*.maxact.safetensors --horizon 100000", "and what would cross a limit"),
    ),
    "merge": (("maxact merge part-1.safetensors part-2.safetensors -o whole.safetensors", "parts of one corpus"),),
    "suggest": (
        ("maxact suggest run.safetensors", "what a new limits file would hold, as a diff"),
        ("maxact suggest run.safetensors --limits limits.yaml --update all", "write what tightens"),
        ("maxact suggest run.safetensors --limits limits.yaml --update all --loosen", "and what lets more pass"),
    ),
    "figures": (
        ("maxact figures run.safetensors", "every question that it answers, as PNG in the folder figures"),
        ("maxact figures run.safetensors --format pdf -o plots", "for a paper"),
        ("maxact figures run.safetensors --baseline old.safetensors", "and what changed, layer by layer"),
        ("maxact figures run.safetensors --paper", "the paper's fifteen figures with this model in them"),
    ),
    "export": (
        ("maxact export deploy.safetensors --smoothquant scales.safetensors", "channel maxima"),
        ("maxact export deploy.safetensors --scales FP8 fp8.safetensors", "static activation scales"),
    ),
    "weights": (("maxact weights DIR --schemes W4A16,NVFP4A16", "what schemes do to every weight"),),
    "lint": (
        ("maxact lint DIR", "whether a quantized checkpoint is one: scales, groups, formats, files"),
        ("maxact lint model.gguf", "of llama.cpp"),
        ("maxact lint DIR --strict --json", "remarks count too, and every code is read; for a program"),
    ),
    "sites": (
        ("maxact sites DIR", "what is read, in which module"),
        ("maxact sites config.json --sites deploy", "of a config alone, inputs of linear layers too"),
    ),
    "plan": (
        ("maxact plan DIR", "where it would live here, and how long it takes"),
        ("maxact plan config.json --devices cpu:64GiB,cuda*4:80GiB", "elsewhere, of a config alone"),
        ("maxact plan DIR --json", "for a program"),
    ),
    "stress": (
        ("maxact stress DIR", "how much worse inputs there are than those of the corpus"),
        ("maxact stress DIR -o run.safetensors --max-samples 50", "and keep the Record; less text beside it"),
        ("maxact stress DIR --json", "for a program"),
    ),
    "hunt": (
        ("maxact hunt DIR -o worst.jsonl", "five minutes at the site that holds M"),
        (
            "maxact hunt DIR layers.2.mlp_output layers.9.hidden --seconds 3600 --state hunt.json -o worst.jsonl",
            "an hour at two sites, which goes on where it was when it is asked again",
        ),
        ("maxact hunt DIR --evaluations 20000 --json", "the same every time; for a program"),
    ),
    "cause": (
        ("maxact cause DIR", "which weight entries write massive channels, each proved by setting it to zero"),
        ("maxact cause DIR --schemes W8A8,W4A16 --json", "and what rounding leaves of them; for a program"),
    ),
    "explain": (
        ("maxact explain", "a list of all that can be explained"),
        ("maxact explain down_in", "a site"),
        ("maxact explain int8.max_abs.sqnr_db", "a metric"),
        ("maxact explain NVFP4", "a scheme"),
        ("maxact explain maxact::layers.3.hidden::max_abs", "a check by its id"),
    ),
}
"""By command; under "" those of `maxact` as a whole."""


def ending(command: str) -> str:
    """What stands below the options of a command."""
    lines = [f"  {typed}\n      {why}" for typed, why in EXAMPLES[command]]
    return "\n".join(["examples:", *lines, "", EXIT_CODES])
