"""`maxact measure`: a checkpoint goes in, its Record comes out. The Record names the family whose limits the checkpoint
would be judged by.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.checkpoint.libraries import TORCH, needed
from pytest_maxact.cli.arguments import Commands, add_command, add_model, add_options, add_target, settings_of
from pytest_maxact.cli.exits import FAILED, PASSED, USAGE
from pytest_maxact.cli.output import display
from pytest_maxact.errors import InputError, one_line, setting
from pytest_maxact.numbers.counted import counted
from pytest_maxact.settings.options import OPTIONS

if TYPE_CHECKING:
    from pytest_maxact.judge.limits.file import LimitsFile
    from pytest_maxact.measure.prepared import Prepared
    from pytest_maxact.measure.ranks.team import Team
    from pytest_maxact.settings.settings import Settings

_OF_THE_FAMILY = ("limits", "family")


def add(commands: Commands) -> None:
    parser = add_command(commands, "measure", run, "measure a checkpoint and write its Record")
    add_model(parser, "a folder written by save_pretrained, or a hub id")
    add_target(parser, "where the Record goes")
    measuring = [option.name for option in OPTIONS if option.measures and option.name not in ("model", "save", "cache")]
    add_options(parser, [*measuring, *_OF_THE_FAMILY, "source"])


def run(options: argparse.Namespace) -> int:
    """Where torchrun starts several processes, rank 0 does what one would, and the others take part in the pass."""
    from pytest_maxact.measure.ranks.place import place_of

    here = place_of()
    if here is None:
        return _measured(options, None)
    with needed(*TORCH):
        from pytest_maxact.measure.assist import follow
        from pytest_maxact.measure.ranks.team import open_team
    if not here.leads:
        return follow(here)
    if options.trust_remote_code:
        raise InputError(
            f"{setting('trust_remote_code')} starts a process of its own, which is no rank of this run\n"
            "  leave it out, or run without torchrun"
        )
    team, code = open_team(here), FAILED
    try:
        code = _measured(options, team)
    except InputError:
        code = USAGE
        raise
    finally:
        sys.stdout.flush()
        team.finish(code)
    return code


def _measured(options: argparse.Namespace, team: "Team | None") -> int:
    from pytest_maxact.judge.limits.file import load_limits
    from pytest_maxact.record.file import RECORD, put
    from pytest_maxact.record.output import require_place
    from pytest_maxact.record.summary import summary

    with needed(*TORCH):
        from pytest_maxact.measure.prepare import prepare
        from pytest_maxact.measure.resume.resumption import Resumption, until_safe
        from pytest_maxact.measure.run import measure
        from pytest_maxact.measure.source.origin import refuse_record

    settings = settings_of(options)
    assert settings.save is not None
    refuse_record(settings)
    checkpoint = [Path(settings.model or "")]
    require_place(Path(settings.save), RECORD, checkpoint)
    files = load_limits(Path(settings.limits) if settings.limits else None)
    if team:
        from pytest_maxact.measure.ranks.share import at_its_place

        settings = at_its_place(settings, team)
        team.announce(settings)
    prepared = prepare(settings)
    family = _family(files, prepared, settings)
    target, progress = Path(settings.save or ""), display()
    resumption = Resumption(target.parent, target.name) if settings.resume == "on" else None
    with until_safe(resumption):
        try:
            record = measure(prepared, settings, family, progress, team=team, resumption=resumption)
        finally:
            progress.close()
        put(summary(record) if settings.slim else record, target, checkpoint)
    if resumption and resumption.remark:
        print(one_line(resumption.remark))
    carrier, seen = record.carrier, f"{counted(record.tokens, 'token')}, {counted(len(record.sites), 'site')}"
    print(one_line(f"{settings.save}: M {carrier.max_abs:.6g} in {carrier.site.name}, {seen}"))
    return PASSED


def _family(files: "list[LimitsFile]", prepared: "Prepared", settings: "Settings") -> str | None:
    """None where no limits speak of the checkpoint, which may be measured all the same. Raises InputError where the
    user named limits or a family, and they do not fit it.
    """
    from pytest_maxact.judge.limits.rules import select_rules

    try:
        return select_rules(files, prepared.identity, prepared.sites, settings.family).family
    except InputError:
        if settings.limits or settings.family:
            raise
        return None
