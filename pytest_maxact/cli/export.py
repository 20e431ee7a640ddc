"""`maxact export`: a Record goes in, what a quantization step needs of it comes out, as safetensors."""

import argparse
from pathlib import Path

from pytest_maxact.cli.arguments import Commands, add_command, add_record
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.errors import InputError, one_line
from pytest_maxact.numbers.counted import counted
from pytest_maxact.settings.places import place
from pytest_maxact.settings.single import Single


def add(commands: Commands) -> None:
    parser = add_command(commands, "export", run, "write what a quantization step needs from a Record, as safetensors")
    add_record(parser, "a file written with --sites deploy, attention or a scheme")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--smoothquant",
        metavar="FILE",
        type=place,
        action=Single,
        help="largest magnitude of every input channel of every linear layer",
    )
    what.add_argument(
        "--scales",
        nargs=2,
        type=place,
        action=Single,
        metavar=("SCHEME", "FILE"),
        help="static activation scales of FP8, W8A8_STATIC or NVFP4",
    )
    what.add_argument(
        "--kv-scales",
        metavar="FILE",
        type=place,
        action=Single,
        help="scales of a KV cache in FP8, from the largest keys and values",
    )
    parser.add_argument(
        "--kv-scheme",
        metavar="SCHEME",
        action=Single,
        help="of another cache: KV_NVFP4, KV_NVFP4_4OVER6 or KV_INT8",
    )


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.numbers.schemes import scheme_called
    from pytest_maxact.record.export import EXPORT, smoothquant, static_scales, write
    from pytest_maxact.record.file import load
    from pytest_maxact.record.kv_scales import FP8, kv_scales
    from pytest_maxact.record.output import require_place

    if options.kv_scheme and not options.kv_scales:
        raise InputError("--kv-scheme is of --kv-scales FILE, which was not given\n  give both, or leave it out")
    require_place(Path(options.smoothquant or options.kv_scales or options.scales[1]), EXPORT)
    record = load(options.replay)
    if options.smoothquant:
        tensors, target, what = smoothquant(record), Path(options.smoothquant), "smoothquant"
    elif options.kv_scales:
        scheme = scheme_called(options.kv_scheme or FP8).name
        what = f"kv-scales of {scheme}" if options.kv_scheme else "kv-scales"
        tensors, target = kv_scales(record, scheme), Path(options.kv_scales)
    else:
        scheme = scheme_called(options.scales[0]).name
        tensors, target, what = static_scales(record, scheme), Path(options.scales[1]), scheme
    provenance = record.provenance
    write(tensors, target, {"model": provenance.model, "weights_sha256": provenance.weights_sha256, "what": what})
    print(one_line(f"{target}: {counted(len(tensors), 'tensor')} ({what})"))
    return PASSED
