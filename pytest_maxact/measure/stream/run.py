"""A measurement with one layer in memory at a time: a prepared measurement in, the Record that the ordinary pass gives
out.

The weight files are read once: the model, the scan of every tensor, the errors of weights and the digest have their
part of that reading. What cannot be had this way is refused by name before anything is loaded.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_maxact import corpus
from pytest_maxact.checkpoint.digest import weights_digest
from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.load import skeleton
from pytest_maxact.checkpoint.sites.anatomy import vocabulary
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.checkpoint.streamed import Layer, Streamed, plan_of
from pytest_maxact.checkpoint.weights.distortion import Distorting
from pytest_maxact.checkpoint.weights.reading import Reading
from pytest_maxact.checkpoint.weights.stored import headers
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.errors import first_line
from pytest_maxact.measure.arithmetic import computing
from pytest_maxact.measure.observe.accumulate import running_m
from pytest_maxact.measure.observe.fresh import Fresh
from pytest_maxact.measure.observe.layers import probe_layers
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.passed import Passed, anatomy_of, probed, record_of, scores_of
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.progress import FIGURING, LOADING, MEASURING, Progress, begin, counted
from pytest_maxact.measure.resume.bookmarks import Bookmarks
from pytest_maxact.measure.stream.marks import Marks, Piece
from pytest_maxact.measure.stream.observed import StateAside, Streaming
from pytest_maxact.measure.stream.refused import refuse_unstreamed
from pytest_maxact.measure.stream.replay import NotResumedError
from pytest_maxact.measure.stream.spill import Folder
from pytest_maxact.measure.stream.told import Telling
from pytest_maxact.measure.stream.turns import Walk, take_turns
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings


def measure_streamed(
    prepared: Prepared, settings: Settings, family: str | None, files: WeightFiles, misfits: Mapping[str, str],
    digest: str | None, progress: Progress | None, bookmarks: Bookmarks | None = None,
) -> Record:  # fmt: skip
    """The Record of a checkpoint, without effects; `bookmarks`: where it goes on. Raises InputError or MeasureError; a
    partial measurement is never returned.
    """
    refuse_unstreamed(files.packing is not None, settings)
    checkpoint = prepared.checkpoint
    built = skeleton(checkpoint)
    anatomy = resolve(built.body, checkpoint.config, settings.linear_inputs, attention=settings.attention)
    schemes = [scheme for scheme in prepared.schemes if scheme.is_of_linears]
    distorting = Distorting(headers(files), built.body, anatomy.linears, schemes) if schemes else None
    plan = plan_of(checkpoint, files, settings.linear_inputs)

    def see(file: Path, key: str, tensor: torch.Tensor) -> None:
        if distorting:
            distorting.see(file, key, tensor)

    begin(progress, LOADING)
    with Reading(files, see) as reading, Folder() as folder:
        streamed = Streamed(checkpoint, settings, plan, reading, prepared.placement)
        marks = _marks(bookmarks, streamed)
        passed = _passed(prepared, settings, streamed, folder, progress, marks)
        begin(progress, FIGURING)
        scan = reading.finish(misfits)
    if distorting:
        passed["distortions"] = distorting.result()
    return record_of(
        Passed(**{"distortions": {}, **passed}), prepared, settings, family, digest or weights_digest(files), scan
    )


def _passed(
    prepared: Prepared, settings: Settings, streamed: Streamed, folder: Folder, progress: Progress | None,
    marks: Marks | None,
) -> dict[str, Any]:  # fmt: skip
    """All of a pass but the errors of weights; once more with every sequence alone, where one turns out to see its
    batch.
    """
    begin(progress, MEASURING)
    alone = marks.alone if marks else (False, False)
    while True:
        attempt = _Attempt(
            prepared=prepared, settings=settings, streamed=streamed, folder=folder, alone=alone, marks=marks
        )
        try:
            attempt.run(progress)
        except NotResumedError as error:
            assert marks is not None
            marks.give_up(first_line(error))
            alone = (False, False)
            continue
        found = attempt.must_be_alone
        if found == alone:
            return attempt.settled()
        alone = found
        if marks:
            marks.begin_anew()


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One pass, with the sequences of either observer alone or not."""

    prepared: Prepared
    settings: Settings
    streamed: Streamed
    folder: Folder
    alone: tuple[bool, bool]
    marks: Marks | None
    _fields: dict[str, Any] = field(default_factory=dict)
    _passes: list[Streaming] = field(default_factory=list)

    def run(self, progress: Progress | None) -> None:
        prepared, settings, loaded = self.prepared, self.settings, self.streamed.loaded
        anatomy = anatomy_of(prepared, settings, loaded)
        scores = scores_of(prepared)
        telling = Telling(loaded, prepared, vocabulary(anatomy))
        deployed = Observer(loaded.decoder, anatomy, scores=scores) if prepared.beside else None
        observer = Observer(loaded.decoder, anatomy, prepared.schemes, telling.see, scores)
        self._fields = {
            "loaded": loaded, "anatomy": anatomy, "observer": observer, "deployed": deployed,
        }  # fmt: skip
        with ExitStack() as stack:
            for one in (deployed, observer):
                if one is not None:
                    stack.enter_context(one.attached())
            assert loaded.whole is not None
            fresh = Fresh(loaded.whole)

            def walk(work: Any, aside: Any = None, optional: bool = False) -> Walk[Any]:
                around = partial(_computing, settings, loaded.device, loaded.dtype)
                return Walk(work, aside or StateAside(fresh), around, self.folder.spill(anatomy.hidden_size), optional)

            walks = telling.walks(walk)
            if deployed is not None:
                walks += self._stream(deployed, prepared.beside, fresh, None, 0).walks(walk, _nothing, _nothing)
            main = self._stream(observer, prepared.whole, fresh, settings.shard, 1)
            told = _Counting(main.tokens * (len(self.streamed.layers) + 1), observer, progress)
            walks += main.walks(walk, partial(_hand_on, deployed, observer), told.stepped)
            if self.marks:
                self.marks.taken_up(*self._pieces)
                told.stepped(main.tokens * self.marks.place)
            probing = walk(lambda: probe_layers(loaded.decoder, anatomy, probed(prepared), loaded.device))
            layers = _Present(self.streamed)
            with layers:
                modules = [layer.module for layer in self.streamed.layers]
                take_turns([*walks, probing], modules, layers.present, self._offer)
            self._fields |= {"probes": probing.result, "told": telling.told, "why": telling.why}
            fresh.restore()

    def _stream(
        self, observer: Observer, sequences: tuple[corpus.Sequence, ...], fresh: Fresh, shard: str | None, place: int
    ) -> Streaming:
        splits = (
            corpus.assign_splits([sequence.sample for sequence in sequences])
            if place
            else {sequence.sample.id: "calibration" for sequence in sequences}
        )
        plan = corpus.plan_batches(sequences, splits, self.settings.batch_tokens)
        found = Streaming(observer, plan, fresh, self.streamed.loaded.device, shard, self.alone[place])
        self._passes.append(found)
        return found

    @property
    def _pieces(self) -> tuple[list[tuple[Observer, list[PlannedBatch]]], list[Piece]]:
        """The passes with their batches, and these as they take turns."""
        return [one.observed for one in self._passes], [piece for one in self._passes for piece in one.pieces]

    def _offer(self) -> None:
        if self.marks:
            self.marks.offer(*self._pieces, self.alone)

    @property
    def must_be_alone(self) -> tuple[bool, bool]:
        *first, last = (one.must_be_alone() for one in self._passes)
        return bool(first and first[0]), last

    def settled(self) -> dict[str, Any]:
        """What was seen, once nothing speaks against it."""
        for one in self._passes:
            one.settle()
        return self._fields


def _marks(bookmarks: Bookmarks | None, streamed: Streamed) -> Marks | None:
    if bookmarks is None:
        return None
    return Marks(bookmarks, [layer.module for layer in streamed.layers], streamed.loaded.decoder)


class _Present:
    """Layers with their weights, one at a time; the next is read while one is used."""

    def __init__(self, streamed: Streamed) -> None:
        self._streamed = streamed
        self._coming: dict[int, Future[dict[str, torch.Tensor]]] = {}
        self._reader = ThreadPoolExecutor(1)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    @contextmanager
    def present(self, module: nn.Module) -> Iterator[None]:
        layers = self._streamed.layers
        place = next(number for number, layer in enumerate(layers) if layer.module is module)
        tensors = (self._coming.pop(place, None) or self._begin(place)).result()
        if place + 1 < len(layers):
            self._coming[place + 1] = self._begin(place + 1)
        with self._streamed.present(layers[place], tensors):
            yield

    def _begin(self, place: int) -> Future[dict[str, torch.Tensor]]:
        layer: Layer = self._streamed.layers[place]
        return self._reader.submit(self._streamed.read, layer)


class _Counting:
    """Tokens of every layer, as they are done."""

    def __init__(self, total: int, observer: Observer, progress: Progress | None) -> None:
        self._total, self._observer, self._progress, self._done = total, observer, counted(progress), 0

    def stepped(self, tokens: int) -> None:
        self._done = min(self._total, self._done + tokens)
        if self._progress:
            largest = running_m(self._observer.accumulators, self._observer.anatomy.sites)
            self._progress(self._done, self._total, largest)


@contextmanager
def _computing(settings: Settings, device: torch.device, dtype: str) -> Iterator[None]:
    with torch.inference_mode(), computing(settings.arithmetic, device, dtype):
        yield


def _hand_on(deployed: Observer | None, observer: Observer) -> None:
    """The maxima of samples as they are deployed, all of which have run there, calibrate scales beside those of this
    pass.
    """
    if deployed is not None:
        for key, channels in deployed.fidelity.channels.items():
            observer.fidelity.channels.setdefault(key, channels)


def _nothing(*given: object) -> None:
    return None
