"""`maxact measure | judge | show | compare | series | ...`: the gate outside pytest, in parts.

Exit codes as pytest's: 0 passed, 1 breach or could not measure, 4 bad request.
"""

import argparse
import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_maxact.cli.words import argument
from pytest_maxact.errors import InputError, MaxactError, setting, worded
from pytest_maxact.numbers.schemes import SCHEMES, scheme_called
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.resolve import resolve
from pytest_maxact.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_maxact.judge.limits.limit import Limit
    from pytest_maxact.report.terminal.screen import Screen

_RECORD = "a file written by `maxact measure` or by pytest"

PASSED, FAILED, USAGE, INTERRUPTED = 0, 1, 4, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


class _Version(argparse.Action):
    """Asks the installation, and only when it is asked itself."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        from importlib.metadata import version

        print(f"maxact {version('pytest-maxact')}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except InputError as error:
        print(f"maxact: {error.worded(argument)}", file=sys.stderr)
        return USAGE
    except MaxactError as error:
        print(f"maxact: could not measure: {error.worded(argument)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("maxact: interrupted, nothing was written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="maxact", description="Maximum activations and low-bit reconstruction error of LLM checkpoints."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    measure = commands.add_parser("measure", help="measure a checkpoint and write its Record")
    measure.add_argument("model", metavar="PATH_OR_HUB_ID", help="a folder written by save_pretrained, or a hub id")
    measure.add_argument("-o", "--save", metavar="FILE", required=True, help="where the Record goes")
    _add_options(
        measure,
        [option.name for option in OPTIONS if option.measures and option.name not in ("model", "save", "cache")],
    )
    measure.set_defaults(run=_measure)

    judge = commands.add_parser("judge", help="judge a Record by its family's limits")
    judge.add_argument("replay", metavar="RECORD", help=_RECORD)
    _add_options(judge, ["limits", "family", "deploy", "baseline"])
    judge.set_defaults(run=_judge)

    judge.add_argument("--json", action="store_true", help="for a program")
    show = commands.add_parser("show", help="print a Record")
    show.add_argument("replay", metavar="RECORD", help=_RECORD)
    show.add_argument("--json", action="store_true", help="for a program")
    show.set_defaults(run=_show)

    compare = commands.add_parser("compare", help="print what changed from one Record to another")
    compare.add_argument("before", metavar="RECORD")
    compare.add_argument("after", metavar="RECORD")
    compare.add_argument("--json", action="store_true", help="for a program")
    compare.set_defaults(run=_compare)

    series = commands.add_parser(
        "series", help="print how the Records of a training run develop, checkpoint by checkpoint"
    )
    series.add_argument(
        "records",
        metavar="RECORD",
        nargs="+",
        help="files whose names hold the training step, as checkpoint-500.maxact.safetensors",
    )
    _add_options(series, ["limits", "family", "horizon"])
    series.add_argument("--json", action="store_true", help="for a program")
    series.set_defaults(run=_series)

    merge = commands.add_parser("merge", help="join Records of parts of one corpus")
    merge.add_argument("parts", metavar="RECORD", nargs="+")
    merge.add_argument("-o", "--save", metavar="FILE", required=True, help="where the Record of the whole goes")
    merge.add_argument("--json", action="store_true", help="print the Record of the whole, for a program")
    merge.set_defaults(run=_merge)

    suggest = commands.add_parser(
        "suggest", help="propose limits from accepted Records, as a diff to review; refused in CI"
    )
    suggest.add_argument(
        "records",
        metavar="RECORD",
        nargs="+",
        help="accepted Records; of those of one shape the limits cover the spread",
    )
    suggest.add_argument(
        "--per-layer", action="store_true", help="a figure for every site, not only for every kind of site"
    )
    _add_options(suggest, ["limits", "update"])
    suggest.add_argument("--json", action="store_true", help="for a program")
    suggest.set_defaults(run=_suggest)

    export = commands.add_parser("export", help="write what a quantization step needs from a Record, as safetensors")
    export.add_argument("replay", metavar="RECORD", help="a file written with --sites deploy or a scheme")
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--smoothquant", metavar="FILE", help="largest magnitude of every input channel of every linear layer"
    )
    what.add_argument(
        "--scales", nargs=2, metavar=("SCHEME", "FILE"), help="static activation scales of FP8, W8A8_STATIC or NVFP4"
    )
    export.set_defaults(run=_export)

    weights = commands.add_parser(
        "weights", help="print what schemes do to the weights of a checkpoint; no forward pass"
    )
    weights.add_argument("model", metavar="PATH_OR_HUB_ID", help="a checkpoint's folder, or a hub id")
    _add_options(weights, ["revision", "trust-remote-code", "schemes"])
    weights.add_argument("--json", action="store_true", help="for a program")
    weights.set_defaults(run=_weights)

    sites = commands.add_parser(
        "sites", help="print what of a model is observed, in which module, and what is left out; loads no weights"
    )
    sites.add_argument("model", metavar="PATH_OR_HUB_ID", help="a checkpoint's folder, its config.json, or a hub id")
    _add_options(sites, ["revision", "trust-remote-code"])
    _add_options(sites, ["sites"])
    sites.add_argument("--json", action="store_true", help="for a program")
    sites.set_defaults(run=_sites)
    return parser


def _add_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    for option in OPTIONS:
        if option.name in names:
            how: dict[str, Any] = (
                {"action": "store_true", "default": None}
                if option.is_flag
                else {
                    "action": "append" if option.repeatable else "store",
                    "type": option.parse,
                    "metavar": option.metavar,
                }
            )
            parser.add_argument(
                f"--{option.name}", dest=option.field, help=worded(option.help, argument).replace("%", "%%"), **how
            )


def _settings(options: argparse.Namespace) -> Settings:
    return resolve({option.field: getattr(options, option.field, None) for option in OPTIONS})


def _measure(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.limits.file import load_limits
    from pytest_maxact.judge.limits.rules import select_rules
    from pytest_maxact.measure.prepare import prepare
    from pytest_maxact.measure.run import measure
    from pytest_maxact.record.file import require_writable, save
    from pytest_maxact.record.summary import summary
    from pytest_maxact.report.terminal.progress import Lines

    settings = _settings(options)
    assert settings.save is not None
    require_writable(Path(settings.save))
    prepared = prepare(settings)
    try:
        family = select_rules(load_limits(), prepared.identity, prepared.sites).family
    except InputError:
        family = None
    record = measure(prepared, settings, family, Lines(lambda text: print(text, file=sys.stderr)))
    save(summary(record) if settings.slim else record, settings.save)
    print(
        f"{settings.save}: M {record.carrier.max_abs:.6g} in {record.carrier.site.name}, {record.tokens} tokens,"
        f" {len(record.sites)} sites"
    )
    return PASSED


def _judge(options: argparse.Namespace) -> int:
    from pytest_maxact.gate.conclude import all_reported, conclude
    from pytest_maxact.gate.session import open_session
    from pytest_maxact.judge.series.order import is_pattern
    from pytest_maxact.report.data.verdict import verdict_data
    from pytest_maxact.report.terminal.outcome import render_outcome

    settings = _settings(options)
    if is_pattern(options.replay):
        raise InputError(
            f"maxact judge takes one Record, and {options.replay} is a pattern\n  give one file; pytest judges a series"
        )
    session = open_session(settings)
    session.judging.every(session.plan.latest)
    tighten = shlex.join(["maxact", "suggest", options.replay, "--limits", options.limits or "FILE", "--update", "all"])
    outcome = conclude(session, all_reported(session), tighten)
    print(_json(verdict_data(outcome)) if options.json else render_outcome(outcome, _screen()))
    return PASSED if outcome.verdict and outcome.verdict.passed else FAILED


def _show(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.portray import portray
    from pytest_maxact.record.file import load

    record = load(options.replay)
    portrait = portray(record)
    if options.json:
        from pytest_maxact.judge.figures import figures_of
        from pytest_maxact.report.data.record import record_data

        print(_json(record_data(portrait, figures_of(record))))
    else:
        from pytest_maxact.report.terminal.record import render_record

        print(render_record(portrait, _screen()))
    return PASSED


def _sites(options: argparse.Namespace) -> int:
    from pytest_maxact.checkpoint.load import skeleton
    from pytest_maxact.checkpoint.locate import locate
    from pytest_maxact.checkpoint.sites.anatomy import site_map
    from pytest_maxact.checkpoint.sites.resolve import resolve
    from pytest_maxact.report.data.sites import sites_data
    from pytest_maxact.report.terminal.sites import render_sites

    checkpoint = locate(_settings(options), weights=False)
    anatomy = resolve(skeleton(checkpoint), checkpoint.config, _settings(options).linear_inputs)
    mapped = site_map(anatomy, checkpoint.config.model_type)
    print(_json(sites_data(mapped)) if options.json else render_sites(mapped, _screen()))
    return PASSED


def _compare(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.compare.comparison import compare
    from pytest_maxact.record.file import load
    from pytest_maxact.report.data.compare import comparison_data
    from pytest_maxact.report.terminal.compare import render_comparison

    comparison = compare(load(options.before), load(options.after))
    print(_json(comparison_data(comparison)) if options.json else render_comparison(comparison, _screen()))
    return PASSED


def _series(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.limits.file import load_limits
    from pytest_maxact.judge.limits.rules import select_rules
    from pytest_maxact.judge.series.order import in_order
    from pytest_maxact.judge.series.series import series_of
    from pytest_maxact.judge.series.trend import Stage
    from pytest_maxact.record.comparability import require_alike
    from pytest_maxact.record.file import load
    from pytest_maxact.record.identity import identity_of
    from pytest_maxact.report.data.series import series_data
    from pytest_maxact.report.terminal.series import render_series

    members = in_order([Path(record) for record in options.records], "the list")
    stages = [Stage(name=member.name, step=member.step, record=load(member.path)) for member in members]
    for stage in stages[1:]:
        require_alike(stages[0].record, stage.record)
        if stage.record.sites.keys() != stages[0].record.sites.keys():
            raise InputError(
                f"{stage.name} and {stages[0].name} have other sites: a series is one run of one architecture\n"
                "  leave one of them out"
            )
    last = stages[-1].record
    limits: Sequence[Limit] = ()
    if options.horizon is not None:
        files = load_limits(Path(options.limits) if options.limits else None)
        limits = select_rules(
            files, identity_of(last.provenance), [reading.site for reading in last.sites.values()], options.family
        ).limits
    series = series_of(stages, limits, options.horizon)
    print(_json(series_data(series)) if options.json else render_series(series, _screen()))
    return PASSED


def _merge(options: argparse.Namespace) -> int:
    from pytest_maxact.record.file import load, require_writable, save
    from pytest_maxact.record.merge import merge

    require_writable(Path(options.save))
    record = merge(load(part) for part in options.parts)
    save(record, options.save)
    if options.json:
        from pytest_maxact.judge.figures import figures_of
        from pytest_maxact.judge.portray import portray
        from pytest_maxact.report.data.record import record_data

        print(_json(record_data(portray(record), figures_of(record))))
    else:
        print(
            f"{options.save}: {len(record.provenance.samples)} samples, {record.tokens} tokens, M"
            f" {record.carrier.max_abs:.6g}"
        )
    return PASSED


def _suggest(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.series.order import short_name
    from pytest_maxact.judge.suggest.evidence import refuse_in_ci
    from pytest_maxact.judge.suggest.propose import propose
    from pytest_maxact.record.file import load
    from pytest_maxact.report.data.suggest import proposal_data
    from pytest_maxact.report.terminal.suggest import closing

    refuse_in_ci("maxact suggest")
    path = Path(options.limits).expanduser() if options.limits else None
    if options.update and path is None:
        raise InputError(f"{setting('update')} writes limits, and {setting('limits')} FILE says where; give both")
    records = [load(record) for record in options.records]
    labels = [short_name(Path(record)) for record in options.records]
    proposal = propose(records, path, mode=options.update or "all", per_layer=options.per_layer, labels=labels)
    if options.update:
        proposal.write()
    print(_json(proposal_data(proposal)) if options.json else proposal.diff(), end="\n" if options.json else "")
    for line in closing(proposal, options.records, per_layer=options.per_layer, written=bool(options.update)):
        print(line, file=sys.stderr)
    return PASSED


def _export(options: argparse.Namespace) -> int:
    from pytest_maxact.record.export import smoothquant, static_scales, write
    from pytest_maxact.record.file import load

    record = load(options.replay)
    if options.smoothquant:
        tensors, target, what = smoothquant(record), Path(options.smoothquant), "smoothquant"
    else:
        scheme = scheme_called(options.scales[0]).name
        tensors, target, what = static_scales(record, scheme), Path(options.scales[1]), scheme
    write(
        tensors,
        target,
        {"model": record.provenance.model, "weights_sha256": record.provenance.weights_sha256, "what": what},
    )
    print(f"{target}: {len(tensors)} tensors ({what})")
    return PASSED


def _weights(options: argparse.Namespace) -> int:
    from pytest_maxact.checkpoint.load import skeleton
    from pytest_maxact.checkpoint.locate import locate, with_weights
    from pytest_maxact.checkpoint.sites.resolve import resolve
    from pytest_maxact.checkpoint.weights.distortion import weight_distortions
    from pytest_maxact.report.data.weights import weights_data
    from pytest_maxact.report.terminal.weights import render_weights

    settings = _settings(options)
    schemes = [SCHEMES[name] for name in settings.schemes or ("W4A16",)]
    checkpoint = locate(settings)
    model = skeleton(checkpoint)
    taps = resolve(model, checkpoint.config, linear_inputs=True).linears
    errors = weight_distortions(with_weights(checkpoint, settings), model, taps, schemes)
    if options.json:
        print(_json(weights_data(errors)))
    else:
        print(render_weights(errors, [scheme.name for scheme in schemes], _screen()))
    return PASSED


def _json(data: object) -> str:
    return json.dumps(_with_words(data), indent=2)


def _with_words(data: Any) -> Any:
    """The same data, settings in its texts as this command has them."""
    if isinstance(data, str):
        return worded(data, argument)
    if isinstance(data, Mapping):
        return {name: _with_words(value) for name, value in data.items()}
    return [_with_words(value) for value in data] if isinstance(data, (list, tuple)) else data


def _screen() -> "Screen":
    from pytest_maxact.report.terminal.screen import Screen

    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    encoding = sys.stdout.encoding or "ascii"
    return Screen(width=shutil.get_terminal_size().columns, color=color, encoding=encoding, words=argument)
