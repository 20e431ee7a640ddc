"""Proposals for a limits file: accepted Records and a file in, the file's new text and its diff out. No torch.

`new` adds what has no limit of its own yet, in place of an envelope too where that does not loosen it; it changes no
limit that is stated. `all` also sets every figure of the Records' shapes to what was seen: those that are then looser
only where loosening was asked for. Bounds that a person stated as such, a family's own patterns and INT-8 rules, and
other shapes stay as they are.

Guard: before anything can be written, the new text is loaded as a limits file, no check of the old one may be gone, and
every accepted Record must pass.
"""

import difflib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pytest_maxact.errors import InputError, setting
from pytest_maxact.judge.limits.file import LIMITS, LimitsFile, builtin_path, load_limits, parse_limits
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import require_protocol, select_rules
from pytest_maxact.judge.limits.schema.family import Shape
from pytest_maxact.judge.limits.yaml_lines import no_limits
from pytest_maxact.judge.limits.yaml_loader import plain
from pytest_maxact.judge.series.order import short_name
from pytest_maxact.judge.suggest.evidence import Evidence, gather
from pytest_maxact.judge.suggest.figures import Figures, figures_due
from pytest_maxact.judge.suggest.ground import ground_of, stated_limits
from pytest_maxact.judge.suggest.loosened import Loosened, loosened
from pytest_maxact.judge.suggest.lower import Lowered, lowered
from pytest_maxact.judge.suggest.plan import edits
from pytest_maxact.judge.suggest.yaml_edit import Location, assign
from pytest_maxact.judge.verdict.bound import is_looser
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.numbers.sites import KINDS
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.metrics.metric import MAX_ABS
from pytest_maxact.record.output import unwritten, write_output
from pytest_maxact.record.record import Record
from pytest_maxact.settings.userfiles import content_of

_UNNAMED = Path("limits.yaml")
_ORDER = (*Shape.model_fields, *KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A limits file as it is and as it would be. `before` is empty for a file that `is_new`; `path` is None where no
    file was named, and then nothing can be written. `notes`: what was left as it is, and why; `looser`: what would pass
    that does not now.
    """

    path: Path | None
    before: str
    after: str
    is_new: bool
    evidence: tuple[Evidence, ...]
    notes: tuple[str, ...]
    looser: tuple[Loosened, ...] = ()

    @property
    def changed(self) -> bool:
        return self.after != self.before

    def diff(self) -> str:
        """As a unified diff, with what it loosens in the lines above; empty where nothing would change."""
        name = str(self.path or _UNNAMED)
        lines = difflib.unified_diff(
            io.StringIO(self.before).readlines(),
            io.StringIO(self.after).readlines(),
            "/dev/null" if self.is_new else name,
            name,
        )
        marks = "".join(f"LOOSENED: {one.words}\n" for one in self.looser)
        return marks + "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
        )

    def write(self) -> None:
        """Write the file, whole or not at all; a link is followed. Raises InputError where it changed since it was
        read, or cannot be written.
        """
        if self.path is None:
            raise InputError(f"no limits file was named to write to\n  give one with {setting('limits')} FILE")
        if not self.changed:
            return
        if _text_of(self.path) != (None if self.is_new else self.before):
            raise InputError(
                f"{self.path} changed while limits for it were proposed; nothing was written\n  run the command again"
            )
        try:
            write_output(self.path, self.after.encode(), LIMITS)
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {unwritten(error)}") from error


def propose(
    records: Sequence[Record],
    path: Path | None,
    *,
    mode: str,
    per_layer: bool = False,
    loosen: bool = False,
    labels: Sequence[str] = (),
) -> Proposal:
    """The limits file at `path` (which need not exist; None for a new one without a name) with limits from accepted
    Records.

    `mode`: "new" or "all". `per_layer`: also a figure for every site by its exact name. `loosen`: set figures also
    where their limits then let more pass. `labels`: what waivers call the Records, their models' names unless said
    otherwise. Raises InputError for Records that are no evidence or of another
    protocol than the file, for a file that is no limits file or the shipped one, and where a Record would not pass
    limits that are not of its shape.
    """
    evidence = gather(records)
    if path is not None and path.resolve() == builtin_path().resolve():
        raise InputError(
            f"{path} holds the shipped limits, which stay as they were published\n"
            f"  give a file of your own with {setting('limits')}"
        )
    found = _text_of(path) if path else None
    name = path or _UNNAMED
    protocol = _protocol(records, found, name)
    crlf = found is not None and "\n" in found and found.count("\n") == found.count("\r\n")
    text = _beginning(protocol) if found is None else found.replace("\r\n", "\n") if crlf else found
    begun, notes, looser = text, list[str](), list[Loosened]()
    for one in evidence:
        text, more, marks = _with_limits(
            text, name, one, everything={"new": False, "all": True}[mode], per_layer=per_layer, loosen=loosen
        )
        notes += more
        looser += marks
    if text == begun and found is None:
        text = ""
    else:
        _require_passed(
            text, name, records, labels or [short_name(Path(record.provenance.model)) for record in records]
        )
    return Proposal(
        path=path,
        before=found or "",
        after=text.replace("\n", "\r\n") if crlf else text,
        is_new=found is None,
        evidence=evidence,
        notes=tuple(dict.fromkeys(notes)),
        looser=tuple(looser),
    )


def _text_of(path: Path) -> str | None:
    """The file with its line ends as they are; None where there is none."""
    try:
        return content_of(path).decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise no_limits(path, error) from error


def _protocol(records: Sequence[Record], found: str | None, path: Path) -> str:
    """The one protocol of the file and of all Records."""
    protocol = parse_limits(found, path)[0].document.protocol if found is not None else records[0].provenance.protocol
    for record in records:
        if record.provenance.protocol != protocol:
            raise InputError(
                f"{path} holds limits for protocol {protocol!r}, {record.provenance.model} was measured under "
                f"{record.provenance.protocol!r}\n"
                "  keep a limits file for each protocol"
            )
    return protocol


def _beginning(protocol: str) -> str:
    """Of a new file. The shipped limits can be extended under their own protocol only."""
    return (
        "version: 1\nextends: builtin\n"
        if protocol == load_limits()[0].document.protocol
        else yaml.safe_dump({"version": 1, "protocol": protocol}, sort_keys=False)
    )


def _with_limits(
    text: str, path: Path, evidence: Evidence, *, everything: bool, per_layer: bool, loosen: bool
) -> tuple[str, list[str], list[Loosened]]:
    """The text with the limits of one shape, notes on what stayed as it is, and what is looser in it."""
    own, files = _loaded(text, path)
    ground = ground_of(own, files, evidence, everything=everything, per_layer=per_layer)
    before = stated_limits(files, evidence)

    def edited(figures: Figures) -> tuple[str, dict[str, Limit], list[Loosened]]:
        after_text = assign(text, edits(ground, figures, plain(text)), path, _ORDER)
        after = stated_limits(_loaded(after_text, path)[1], evidence)
        return after_text, after, loosened(before, after, evidence.sites) if everything else []

    figures = figures_due(ground)
    notes = list(figures.notes)
    after_text, after, looser = edited(figures)
    if looser and not loosen:
        notes += [f"{one.words} would be a loosening; {setting('loosen')} sets it" for one in looser]
        after_text, after, looser = edited(figures.without({one.key for one in looser}))
        if looser:
            raise InputError(
                f"{path}: {looser[0].words} would be a loosening; nothing was written\n"
                f"  where that is meant, add {setting('loosen')}"
            )
    _require_kept(before, after, path, strict=not everything)
    if everything and loosen and (due := list(lowered(_loaded(after_text, path)[1], evidence))):
        place = ("families", ground.name, "shapes", ground.index)
        after_text = assign(after_text, _lower_edits(due, place, plain(after_text)), path, _ORDER)
        looser += [one.looser for one in due]
    return after_text, notes, looser


def _lower_edits(due: Sequence[Lowered], place: tuple[str | int, ...], data: Any) -> Iterator[tuple[Location, Any]]:
    """Bounds from below, each key of the shape at once where it is not there yet."""
    shape = data["families"][place[1]]["shapes"][place[3]]
    for key in dict.fromkeys(one.key for one in due):
        bounds = {one.kind: one.bound for one in due if one.key == key}
        if key not in shape:
            yield (*place, key), bounds
        else:
            yield from (((*place, key, kind), bound) for kind, bound in bounds.items())


def _loaded(text: str, path: Path) -> tuple[LimitsFile | None, list[LimitsFile]]:
    """The file's own limits, and all that apply; of a new file without any, which is no limits file yet, none."""
    if not {"families", "generic", "extends"} & plain(text).keys():
        return None, []
    files = parse_limits(text, path)
    return files[0], files


def _require_kept(before: dict[str, Limit], after: dict[str, Limit], path: Path, *, strict: bool) -> None:
    """No check may be gone; `strict`: no limit that was stated may have changed, and none that an envelope set may be
    looser.
    """
    for check, limit in before.items():
        if check not in after:
            raise InputError(
                f"{path}: {check} ({limit.rule}) would no longer be checked for this shape; nothing was written\n"
                "  state its limit in a shape of this depth and width first"
            )
        if strict and (is_looser(after[check], limit) if limit.envelope else after[check].bound != limit.bound):
            raise InputError(
                f"{path}: {check} is limited to {limit.bound:.6g} ({limit.rule}), and would be to "
                f"{after[check].bound:.6g}; nothing was written\n"
                f"  mode new changes no stated limit and loosens none; use {setting('update')} all with "
                f"{setting('loosen')}"
            )


def _require_passed(text: str, path: Path, records: Sequence[Record], labels: Sequence[str]) -> None:
    """Every accepted Record passes every limit that the file would set for it, but for blocks that a waiver says are
    meant to do nothing.
    """
    files = parse_limits(text, path)
    for record, label in zip(records, labels, strict=True):
        rules = select_rules(files, identity_of(record.provenance), [reading.site for reading in record.sites.values()])
        require_protocol(record.provenance.protocol, rules)
        meant = [waiver for waiver in rules.waivers if waiver.metric == MAX_ABS.name and waiver.up_to == 0.0]
        findings = judge(record, rules.limits, waivers=meant, checkpoint=label)
        failed = next((finding for finding in findings if not finding.accepted), None)
        if failed is not None and failed.limit.metric == MAX_ABS and failed.value == 0.0:
            raise InputError(
                f"{record.provenance.model} would pass no limit; nothing was written:\n"
                f"  {failed.message}\n"
                f"  mend it, or, where that is meant, say so in {path}: `waive:` with site {failed.site}, metric "
                "max_abs and up_to 0"
            )
        if failed is not None:
            raise InputError(
                f"{record.provenance.model} would not pass {path}; nothing was written:\n"
                f"  {failed.message}\n"
                "  do not accept the Record; what to do where it is the limit that is wrong stands in docs/limits.md"
            )
