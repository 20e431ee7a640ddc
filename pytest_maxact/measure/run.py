"""From a prepared measurement to a Record: the only road through weights, observer and effects."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.digest import weights_digest
from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.lint.look import lint_loaded
from pytest_maxact.checkpoint.load import LoadedModel, load, skeleton, whole_skeleton
from pytest_maxact.checkpoint.locate import Checkpoint, require_unchanged, with_seal, with_weights
from pytest_maxact.checkpoint.placement.placement import require_room
from pytest_maxact.checkpoint.sites.anatomy import Anatomy, vocabulary
from pytest_maxact.checkpoint.stated import remarks_of
from pytest_maxact.checkpoint.weights.distortion import weight_distortions
from pytest_maxact.checkpoint.weights.presence import misfits_of
from pytest_maxact.checkpoint.weights.scan import scan_weights
from pytest_maxact.checkpoint.weights.stored import headers
from pytest_maxact.corpus import BatchPlan
from pytest_maxact.measure.arithmetic import computing
from pytest_maxact.measure.effect.after import effects_after
from pytest_maxact.measure.effect.effects import Holds
from pytest_maxact.measure.low_bits import with_restored
from pytest_maxact.measure.observe.layers import probe_layers
from pytest_maxact.measure.observe.left import Follower
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.scores import Scores
from pytest_maxact.measure.passed import Passed, anatomy_of, probed, record_of, scores_of, with_files
from pytest_maxact.measure.passes import as_deployed
from pytest_maxact.measure.predict import Predicting, Telling, predicting
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.progress import (
    FIGURING,
    LOADING,
    MEASURING,
    PREDICTING,
    READING,
    Counted,
    Progress,
    begin,
    counted,
)
from pytest_maxact.measure.ranks.parallel import company_of, sharing
from pytest_maxact.measure.ranks.share import facts_of
from pytest_maxact.measure.ranks.team import PLANNED, Team
from pytest_maxact.measure.ranks.together import Together
from pytest_maxact.measure.repeat import repeated
from pytest_maxact.measure.resume.bookmarks import Bookmarks
from pytest_maxact.measure.resume.opening import bookmarks_of, told_to_others
from pytest_maxact.measure.resume.resumption import Resumption
from pytest_maxact.measure.saturating import Saturating, saturating
from pytest_maxact.measure.source.compare import against_source
from pytest_maxact.measure.stream.refused import refuse_shared
from pytest_maxact.measure.trials import with_trials
from pytest_maxact.numbers.scan import WeightScan
from pytest_maxact.numbers.schemes import Scheme
from pytest_maxact.numbers.ways import STREAMED
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings

Failing = Callable[[Record], Mapping[str, Sequence[str]]]
"""A Record without effects -> per scheme, the names of the linear inputs at which it fails."""
Bounded = Callable[[Record], Mapping[str, Holds]]
"""The same Record -> per scheme that fails at none, whether an effect of it is within bounds."""


def measure(
    prepared: Prepared,
    settings: Settings,
    family: str | None,
    progress: Progress | None = None,
    failing: Failing = lambda record: {},
    bounded: Bounded = lambda record: {},
    digest: str | None = None,
    team: Team | None = None,
    resumption: Resumption | None = None,
) -> Record:
    """Load the weights, run one hooked pass over the corpus, and return its Record, with effects where asked for.

    `failing` tells, of what was measured so far, at which sites each scheme fails: the effect is measured once more
    with these in 16 bits. `bounded` tells whether an effect is within bounds: where one is not, though the scheme fails
    nowhere, the linear layer is looked for that breaks predictions. `digest`: that of the weight files, where it is
    known already. `team`: the ranks that share the pass, of which this one leads; effects it measures alone.
    `resumption`: where a measurement that was killed goes on, which is for the caller to end. Raises InputError or
    MeasureError; a partial measurement is never returned, nor one of files that changed meanwhile.
    """
    if prepared.placement:
        require_room(prepared.placement)
    settings = replace(settings, batch_tokens=prepared.batch_tokens or settings.batch_tokens)
    checkpoint = with_seal(prepared.checkpoint, with_weights(prepared.checkpoint, settings))
    files = with_weights(checkpoint, settings)
    if checkpoint.is_hub:
        prepared = replace(prepared, remarks=tuple(remarks_of(skeleton(checkpoint).whole, files)))
    misfits = {} if files.is_gguf else misfits_of(whole_skeleton(checkpoint), headers(files))
    bookmarks = bookmarks_of(resumption, prepared, settings, checkpoint, digest, team.place if team else None)
    if prepared.placement and prepared.placement.how == STREAMED:
        refuse_shared(team is not None)
        record = _streamed(prepared, settings, family, files, misfits, digest, progress, bookmarks)
        return _unchanged(record, checkpoint, files)
    ordered = _ordered(team, settings, resumption) if team else nullcontext()
    with _eager(), ordered, sharing(team, prepared), ThreadPoolExecutor(1) as background:
        scan = background.submit(
            scan_weights, files, misfits, lint_loaded(files) if checkpoint.quantized or files.packing else None
        )
        begin(progress, LOADING)
        loaded = _loaded(checkpoint, settings, prepared, team)
        loaded_files = loaded.files

        def identify() -> str:
            if not scan.done():
                begin(progress, READING)
            scan.result()
            return digest or (weights_digest(loaded_files) if loaded_files else "")

        scanned = partial(with_restored, scan.result, loaded)
        company = company_of(team, prepared, lambda: facts_of(prepared, settings, identify())) if team else None
        record = measure_loaded(
            prepared, settings, loaded, family, identify, scanned, progress, company=company, bookmarks=bookmarks
        )
        record = with_trials(record, prepared, settings, loaded, progress)
    del scanned, company, loaded
    if settings.effects_measured:
        begin(progress, PREDICTING)
    with _eager():
        record = replace(record, effects=effects_after(prepared, settings, record, failing(record), bounded(record)))
    return _compared(_unchanged(record, checkpoint, loaded_files), prepared, settings, progress)


def _compared(record: Record, prepared: Prepared, settings: Settings, progress: Progress | None) -> Record:
    """With what it is against its source, where one was named."""
    with _eager():
        return replace(record, source=against_source(prepared, settings, record, progress))


def _streamed(
    prepared: Prepared, settings: Settings, family: str | None, files: WeightFiles, misfits: Mapping[str, str],
    digest: str | None, progress: Progress | None, bookmarks: Bookmarks | None,
) -> Record:  # fmt: skip
    from pytest_maxact.measure.stream.run import measure_streamed  # it locks files, as not every system can

    with _eager():
        return measure_streamed(prepared, settings, family, files, misfits, digest, progress, bookmarks)


def _unchanged(record: Record, checkpoint: Checkpoint, files: WeightFiles | None) -> Record:
    """A Record that names its files, all of which are what they were. Raises MeasureError."""
    require_unchanged(checkpoint)
    if files is not None:
        record = with_files(record, files)
        require_unchanged(checkpoint)
    return record


def _loaded(checkpoint: Checkpoint, settings: Settings, prepared: Prepared, team: Team | None) -> LoadedModel:
    """The model, where several ranks load it once all have planned."""
    if team:
        team.meet(PLANNED)
    return load(checkpoint, settings, prepared.placement)


def _ordered(team: Team, settings: Settings, resumption: Resumption | None) -> AbstractContextManager[None]:
    """While the others take part, and keep bookmarks of their shares as long as this rank keeps its own."""

    def settled() -> None:
        team.goes_on = False

    if resumption:
        resumption.settled = settled
    return team.measuring(settings, told_to_others(resumption))


def _eager() -> AbstractContextManager[None]:
    """Code that compiles parts of itself runs as it is written: hooks are no part of a compiled graph."""
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


def measure_loaded(
    prepared: Prepared, settings: Settings, loaded: LoadedModel, family: str | None, identify: Callable[[], str],
    scan: Callable[[], WeightScan], progress: Progress | None = None, telling: Telling = predicting,
    company: Together | None = None, bookmarks: Bookmarks | None = None,
) -> Record:  # fmt: skip
    """The Record of a model whose weights are in memory, without effects; `identify` gives what its weights are known
    by, `scan` what every one of its tensors holds, in parts that are not run too, `telling` what its predictions are
    told by, `bookmarks` where its passes go on.

    Raises InputError or MeasureError; a partial measurement is never returned.
    """
    with computing(settings.arithmetic, loaded.device, loaded.dtype):
        seen = _passed(prepared, settings, loaded, progress, telling, company, bookmarks)
        begin(progress, FIGURING)
        prepared = seen.stopped.seen(prepared) if seen.stopped else prepared
        return _figured(prepared, settings, loaded, seen, family, identify, scan)


def take_part(
    prepared: Prepared, settings: Settings, loaded: LoadedModel, company: Together, bookmarks: Bookmarks | None = None
) -> None:
    """The pass alone, by one of several processes that does not lead; of a model that they hold together all that runs
    it. Raises InputError or MeasureError.
    """
    with _eager(), computing(settings.arithmetic, loaded.device, loaded.dtype):
        passed = _passed(prepared, settings, loaded, None, predicting, company, bookmarks)
        if company.holds_a_part:
            probe_layers(loaded.decoder, passed.anatomy, probed(prepared), loaded.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passed:
    """After the pass: its observer, that of text as deployed, and what tells predictions, or why nothing does."""

    anatomy: Anatomy
    observer: Observer
    deployed: Observer | None
    told: Predicting | None
    why: str
    stopped: Saturating | None = None


def _passed(
    prepared: Prepared, settings: Settings, loaded: LoadedModel, progress: Progress | None, telling: Telling,
    company: Together | None, bookmarks: Bookmarks | None = None,
) -> _Passed:  # fmt: skip
    anatomy = anatomy_of(prepared, settings, loaded)
    scores = scores_of(prepared)
    beside = company if company and company.holds_a_part else None
    deployed = as_deployed(prepared, loaded, anatomy, settings.batch_tokens, scores, bookmarks, beside)
    told, why = (
        (None, prepared.unpredicted) if prepared.unpredicted else telling(loaded, prepared.whole, vocabulary(anatomy))
    )
    begin(progress, MEASURING)
    stopped = saturating(prepared, settings)
    following = stopped.follow if stopped else None
    observer = observe(
        loaded, anatomy, prepared.whole, settings.batch_tokens, counted(progress), prepared.schemes,
        told, scores, deployed.fidelity.channels if deployed else {}, settings.shard, company,
        (lambda observer: bookmarks.follow("corpus", observer, told)) if bookmarks else following,
        stopped.plan if stopped else None,
    )  # fmt: skip
    return _Passed(anatomy=anatomy, observer=observer, deployed=deployed, told=told, why=why, stopped=stopped)


def _figured(
    prepared: Prepared, settings: Settings, loaded: LoadedModel, passed: _Passed, family: str | None,
    identify: Callable[[], str], scan: Callable[[], WeightScan],
) -> Record:  # fmt: skip
    """The figures of a pass, and what is read of the model beside it."""
    schemes = [scheme for scheme in prepared.schemes if scheme.is_of_linears]
    probes = probe_layers(loaded.decoder, passed.anatomy, probed(prepared), loaded.device)
    distortions = (
        weight_distortions(loaded.files, loaded.model, passed.anatomy.linears, schemes)
        if schemes and loaded.files
        else {}
    )
    whole = Passed(
        loaded=loaded, anatomy=passed.anatomy, observer=passed.observer, deployed=passed.deployed, told=passed.told,
        why=passed.why, probes=probes, distortions=distortions,
        stopped=passed.stopped.stopped if passed.stopped else None,
        noise=repeated(prepared, settings, loaded, passed.anatomy.asked) if settings.repeat else None,
    )  # fmt: skip
    return record_of(whole, prepared, settings, family, identify(), scan())


def observe(
    loaded: LoadedModel, anatomy: Anatomy, sequences: Sequence[corpus.Sequence], batch_tokens: int,
    progress: Counted | None = None, schemes: Sequence[Scheme] = (), told: Predicting | None = None,
    scores: Scores | None = None, channels: Mapping[tuple[str, str], torch.Tensor] = {}, shard: str | None = None,
    company: Together | None = None, following: Callable[[Observer], Follower] | None = None,
    plan: BatchPlan | None = None,
) -> Observer:  # fmt: skip
    """One hooked pass over encoded samples, or a part of their batches, finished and checked where it holds what all of
    a `company` saw. `channels`: maxima that calibrate scales beside those of this pass. `following`: who follows it.
    `plan`: of batches that run in this order.
    """
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    observer = Observer(loaded.decoder, anatomy, schemes, told.see if told else None, scores)
    observer.fidelity.channels.update(channels)
    with observer.attached():
        observer.run(
            plan or corpus.plan_batches(sequences, splits, batch_tokens),
            loaded.device,
            company.watched(progress) if company else progress,
            shard=shard,
            company=company,
            follower=following(observer) if following else None,
            in_order=plan is not None,
        )
    if company is None or company.joined(observer, told):
        observer.finish()
    return observer
