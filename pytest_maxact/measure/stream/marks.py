"""Bookmarks of a streamed pass: what all of it has gathered after a layer, and where every batch stands, in; the same
batches before the next layer out, in another process.

Hidden states lie beside the bookmark, in a folder of their own, as links to what the pass laid down or as copies of it,
each with its checksum. Guards: the bookmark names its folder and is put in place when that is whole; one whose hidden
states are gone or damaged is not gone on from; and of a model whose batches cannot be brought there again
(`replay.unportable`) none is written, which is told.
"""

import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.left import Left
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.reduction import State, under, within
from pytest_maxact.measure.observe.state import restore, state_of
from pytest_maxact.measure.resume.bookmark import Stage
from pytest_maxact.measure.resume.bookmarks import Bookmarks
from pytest_maxact.measure.stream.observed import BatchAside
from pytest_maxact.measure.stream.replay import Replay, Standing, UnportableError, forms, standing, unportable
from pytest_maxact.measure.stream.spill import Laid, Part
from pytest_maxact.measure.stream.turns import Walk

_NAME = "streamed"
_TRIED = 4
"""Tokens of the sequences on which it is tried whether a batch can be brought to a layer again."""
Piece = tuple[Walk[Any], BatchAside]
"""A batch, and what is noted of it."""


class Marks:
    """Those of one streamed measurement of a model with these `layers`."""

    def __init__(self, bookmarks: Bookmarks, layers: Sequence[nn.Module], decoder: nn.Module) -> None:
        self._bookmarks, self._layers, self._decoder = bookmarks, list(layers), decoder
        self._stage = bookmarks.found(_NAME)
        self._why = ""
        self._clear(self.place)
        if self._stage and not self._is_whole(self._stage.left):
            self.give_up("hidden states that belong to its bookmark are gone or damaged")

    @property
    def alone(self) -> tuple[bool, bool]:
        """Whether the sequences of each pass ran alone where it was left."""
        one, other = self._stage.left["alone"] if self._stage else (False, False)
        return bool(one), bool(other)

    @property
    def place(self) -> int:
        """How many layers are behind it."""
        return int(self._stage.left["place"]) if self._stage else 0

    def begin_anew(self) -> None:
        """Whatever was left is of no use any more."""
        self._stage = None

    def give_up(self, why: str) -> None:
        """Begin anew, and tell why."""
        self.begin_anew()
        self._bookmarks.remark(f"the measurement was not gone on with, {why}: all was measured from the beginning")

    def taken_up(self, passes: Sequence[tuple[Observer, Sequence[PlannedBatch]]], pieces: Sequence[Piece]) -> None:
        """Before any piece of work begins: what was gathered, and where batches go on."""
        if self._stage is None:
            return
        left = self._stage.left
        if left["plans"] != _plans(passes) or len(left["walks"]) != len(pieces):
            self.give_up("its batches are others")
            return
        for number, (observer, _) in enumerate(passes):
            restore(observer, within(str(number), self._stage.state))
        for number, ((walk, aside), told) in enumerate(zip(pieces, left["walks"], strict=True)):
            if told["parts"]:
                _linked(self._states(self.place) / f"{number}.states", walk.spill.path)
            aside.go_on(told["noted"], told["rows"])
            walk.replay = Replay(
                self._layers[: self.place], self._layers[self.place], walk.spill, _laid(told["parts"]),
                Standing(**told["stood"]), aside.suspend, aside.resume,
            )  # fmt: skip
        self._bookmarks.remark(f"the measurement went on after {self.place} of {len(self._layers)} layers")

    def offer(
        self, passes: Sequence[tuple[Observer, Sequence[PlannedBatch]]], pieces: Sequence[Piece],
        alone: tuple[bool, bool],
    ) -> None:  # fmt: skip
        """Between two layers: write a bookmark, if one is due and all batches wait for the same layer."""
        waits = {id(walk.waits_for): walk.waits_for for walk, _ in pieces}
        (layer,) = waits.values() if len(waits) == 1 else (None,)
        if layer is None or self._why or (place := self._layers.index(layer)) <= self.place:
            return
        folder = self._states(place)

        def stage() -> Stage | None:
            if why := self._unportable(place, passes, pieces):
                self._why = why
                self._bookmarks.remark(f"no bookmark can be kept of this architecture while it is streamed: {why}")
                return None
            told = [_told(walk, aside) for walk, aside in pieces]
            state: State = {}
            for number, (observer, _) in enumerate(passes):
                state = {**state, **under(str(number), state_of(observer))}
            left = {"place": place, "alone": list(alone), "plans": _plans(passes), "walks": told}
            return Stage(state=state, left=left)

        def lay_down() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for number, (walk, _) in enumerate(pieces):
                if walk.laid.parts:
                    _linked(walk.spill.path, folder / f"{number}.states")

        if self._bookmarks.offer(_NAME, stage, lay_down):
            self._clear(place)

    def _unportable(
        self, place: int, passes: Sequence[tuple[Observer, Sequence[PlannedBatch]]], pieces: Sequence[Piece]
    ) -> str:
        """Why batches could not be brought there again; empty where they can."""
        if not all(walk.is_plain for walk, _ in pieces):
            return "its layers hand on more than hidden states"
        inside = {module for layer in self._layers for module in layer.modules()}
        if any(tap.last for observer, _ in passes for tap in observer.anatomy.taps) or any(
            module in inside for _, aside in pieces for module in aside.noted_by
        ):
            return "its layers note something of a pass"
        try:
            seen = {"; ".join(forms(walk.given)) for walk, _ in pieces}
        except UnportableError as error:
            return str(error)
        spill = pieces[0][0].spill
        tried = [_few(planned.sequences[:2]) for planned in (passes[-1][1][0], max(passes[-1][1], key=_padded))]
        return unportable(self._decoder, self._layers, place, tried, spill, seen)

    def _states(self, place: int) -> Path:
        """Where the hidden states of a bookmark lie."""
        return self._bookmarks.place(f"{place}.states")

    def _clear(self, place: int) -> None:
        """Leave no hidden states but those of the bookmark."""
        for folder in self._bookmarks.beside():
            if folder != self._states(place):
                shutil.rmtree(folder, ignore_errors=True)

    def _is_whole(self, left: Mapping[str, Any]) -> bool:
        """Whether all hidden states are what was laid down."""
        folder = self._states(self.place)
        try:
            for number, told in enumerate(left["walks"]):
                if not told["parts"]:
                    continue
                with (folder / f"{number}.states").open("rb") as file:
                    for start, size, checksum in told["parts"]:
                        file.seek(start)
                        if zlib.crc32(file.read(size)) != checksum:
                            return False
        except OSError:
            return False
        return True


def _told(walk: Walk[Any], aside: BatchAside) -> dict[str, Any]:
    """Where a batch stands, as JSON holds it."""
    parts = [[part.start, part.size, part.checksum] for part in walk.laid.parts]
    return {
        "parts": parts, "stood": asdict(standing(walk.given, walk.spill)), "noted": aside.noted, "rows": aside.rows,
    }  # fmt: skip


def _laid(parts: Sequence[Sequence[int]]) -> Laid:
    return Laid(parts=tuple(Part(start=start, size=size, checksum=checksum) for start, size, checksum in parts))


def _plans(passes: Sequence[tuple[Observer, Sequence[PlannedBatch]]]) -> list[str]:
    """What batches of each pass are known by."""
    return [str(Left(list(plan)).state()["plan"]) for _, plan in passes]


def _padded(planned: PlannedBatch) -> bool:
    return planned.padded_tokens > 0


def _few(sequences: Sequence[Any]) -> dict[str, torch.Tensor]:
    """What a decoder is called with for the first tokens of a batch, padded where the batch is."""
    cut = [replace(one, ids=one.ids[: _TRIED - number]) for number, one in enumerate(sequences)]
    return collate(PlannedBatch(split="calibration", sequences=tuple(cut)), torch.device("cpu")).model_inputs


def _linked(one: Path, other: Path) -> None:
    """Another name of a file, or a copy of it where it lies on another disk."""
    other.unlink(missing_ok=True)
    try:
        os.link(one, other)
    except OSError:
        shutil.copyfile(one, other)
