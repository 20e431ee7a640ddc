"""`maxact weights`: a checkpoint goes in, what schemes do to its weights comes out; no forward pass is made."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_maxact.checkpoint.libraries import TORCH, needed
from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_model, add_options, settings_of
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.output import print_json, screen

if TYPE_CHECKING:
    from pytest_maxact.report.data.weights import Errors


def add(commands: Commands) -> None:
    parser = add_command(
        commands, "weights", run, "print what schemes do to the weights of a checkpoint; no forward pass"
    )
    add_model(parser, "a checkpoint's folder, or a hub id")
    add_options(parser, ["revision", "weights", "trust-remote-code", "schemes"])
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.numbers.schemes import SCHEMES
    from pytest_maxact.report.data.weights import weights_data
    from pytest_maxact.report.terminal.weights import render_weights

    with needed(*TORCH):
        from pytest_maxact.checkpoint.fit import refuse_unfit
        from pytest_maxact.checkpoint.load import skeleton
        from pytest_maxact.checkpoint.locate import locate, require_unchanged, with_seal, with_weights
        from pytest_maxact.checkpoint.sites.resolve import resolve
        from pytest_maxact.checkpoint.weights.distortion import weight_distortions

    settings = settings_of(options)
    schemes = [SCHEMES[name] for name in settings.schemes or ("W4A16",)]
    checkpoint = locate(settings)
    built = skeleton(checkpoint)
    model = built.body
    taps = resolve(model, checkpoint.config, linear_inputs=True).linears
    files = with_weights(checkpoint, settings)
    refuse_unfit(built.whole, files)
    checkpoint = with_seal(checkpoint, files)
    distortions = weight_distortions(files, model, taps, schemes)
    require_unchanged(checkpoint)
    _refuse_what_fits_nothing(distortions, [scheme.name for scheme in schemes])
    if options.json:
        print_json(weights_data(distortions))
    else:
        print(render_weights(distortions, [scheme.name for scheme in schemes], screen()))
    return PASSED


def _refuse_what_fits_nothing(distortions: "Errors", schemes: Sequence[str]) -> None:
    """Raise InputError for a scheme that can quantize no weight of the checkpoint."""
    from pytest_maxact.errors import InputError, setting

    for scheme in schemes:
        found = {
            path: by_scheme[scheme]
            for weights in distortions.values()
            for path, by_scheme in weights.items()
            if scheme in by_scheme
        }
        if found and all(error.refused for error in found.values()):
            first, error = next(iter(found.items()))
            raise InputError(
                f"{scheme} fits none of {len(found)} weights, the first {first}: {error.refused}\n"
                f"  name other schemes with {setting('schemes')}"
            )
