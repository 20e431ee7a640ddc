"""Records of parts of one corpus, merged by addition, in any order, to the identical whole."""

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import replace

from pytest_maxact.errors import InputError, setting, shown
from pytest_maxact.numbers.noise import Noise, merged_noise
from pytest_maxact.record.comparability import part_differences
from pytest_maxact.record.deployed import AsDeployed, joined_deployed
from pytest_maxact.record.hunt import Hunted
from pytest_maxact.record.logits import LayerLogits, merged_logits
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.provenance import Context, Provenance, corpus_digest, merged_context, merged_tokens
from pytest_maxact.record.reading import SiteReading, by_depth, ordered
from pytest_maxact.record.record import Record
from pytest_maxact.record.scores import LayerScores, merged_scores
from pytest_maxact.record.spoken import kept_texts
from pytest_maxact.record.static import held_of
from pytest_maxact.record.stress import Stress, merged_stress
from pytest_maxact.record.units import in_units, without_groups

_Sample = tuple[str, str, str, int]


def merge(records: Iterable[Record]) -> Record:
    """The Record of the union of several parts of one corpus, whatever their order. One part is held at a time, beside
    the sum.

    Raises InputError where the parts differ in anything but their samples, share a sample, are slim, or are not all of
    the parts that a measurement was cut into.
    """
    whole = Sum()
    for record in records:
        whole.add(record)
    return whole.record()


class Sum:
    """Parts of one measurement added up: `add` each, then ask for the `record` of the whole.

    What is held grows with the samples of the whole, as its Record does, and not with the number of parts.
    """

    def __init__(self) -> None:
        self._first: Record | None = None
        self._sites: dict[str, SiteReading] = {}
        self._scaled: dict[str, SiteReading] = {}
        self._origin = Origin()
        self._shards: set[int] = set()
        self._texts: dict[str, str] = {}
        self._names: set[str] = set()
        self._predictions: Predictions | None = None
        self._scores: tuple[LayerScores, ...] | None = None
        self._logits: tuple[LayerLogits, ...] | None = None
        self._noise: Noise | None = None
        self._stress: Stress | None = None
        self._hunt: tuple[Hunted, ...] = ()
        self._untried: dict[str, str] = {}
        self._token_texts: dict[str, str] | None = {}

    def add(self, part: Record) -> None:
        """Raises InputError for what is no part of the same measurement, or holds what another part holds."""
        if part.is_summary:
            raise InputError(
                "a slim Record holds no histograms that add up\n"
                f"  merge Records that were measured without {setting('slim')}"
            )
        if part.provenance.stopped:
            raise InputError(
                f"a Record whose pass may end early ({setting('until_saturated')}) is no part of a measurement\n"
                "  measure the parts without it"
            )
        if self._first is None:
            self._first, self._sites = part, without_groups(part.sites, part.provenance)
            self._scaled = dict(part.scaled)
            self._predictions, self._scores, self._logits = part.predictions, part.scores, part.logits
            self._noise = part.noise
        else:
            _require_alike(self._first, part)
            self._refuse_repeated(part.provenance.shard)
            sites = without_groups(part.sites, part.provenance)
            self._sites = {name: reading + sites[name] for name, reading in self._sites.items()}
            self._scaled = {name: reading + part.scaled[name] for name, reading in self._scaled.items()}
            told, new = self._predictions, part.predictions
            self._predictions = told + new if told and new else None
            self._scores = merged_scores((self._scores, part.scores))
            self._logits = merged_logits((self._logits, part.logits))
            self._noise = merged_noise(self._noise, part.noise)
        self._stress = merged_stress(self._stress, part.stress)
        self._hunt += part.hunt or ()
        self._untried |= part.untried
        told_of = self._token_texts is not None and part.token_texts is not None
        self._token_texts = {**(self._token_texts or {}), **(part.token_texts or {})} if told_of else None
        self._refuse_shared_texts(part.provenance)
        self._refuse_shared_names(part.provenance)
        if part.provenance.shard:
            self._shards.add(_number(part.provenance.shard))
        self._origin.add(part.provenance)

    def record(self) -> Record:
        """The whole. Raises InputError where a part of it is missing."""
        if self._first is None:
            raise InputError("there is no Record to merge\n  name the Records of the parts")
        if shard := self._first.provenance.shard:
            _refuse_missing(self._shards, int(shard.split("/")[1]))
        low_bits = self._first.provenance.low_bits
        provenance, order = self._origin.joined(self._first.provenance), (self._origin.order, self._origin.evaluated)
        sites = in_units({name: ordered(one, *order) for name, one in self._sites.items()}, provenance)
        return Record(
            provenance=provenance,
            sites=sites,
            weights=self._first.weights,
            predictions=self._predictions,
            scores=self._scores,
            logits=self._logits,
            noise=self._noise,
            static=held_of(low_bits, by_depth(self._sites, self._scaled)),
            scaled={name: ordered(one, *order) for name, one in self._scaled.items()},
            stress=self._stress,
            hunt=self._hunt or None,
            untried=self._untried,
            token_texts=None if self._token_texts is None else kept_texts(sites.values(), self._token_texts),
        )

    def _refuse_repeated(self, shard: str | None) -> None:
        if shard and _number(shard) in self._shards:
            raise InputError(f"{_part_words(shard)} is given twice\n  give every part once")

    def _refuse_shared_texts(self, part: Provenance) -> None:
        """Raise InputError for a text that two parts were measured on, whatever it is called in them, and as far as
        both say so under whatever category.
        """
        names = [name for name, *_ in part.samples]
        own = dict(zip(part.sample_digests, names, strict=True))
        own |= dict(zip(part.text_digests, names, strict=bool(part.text_digests)))
        if shared := next((digest for digest in own if digest in self._texts), None):
            raise InputError(
                f"these Records share texts, the first {shown(self._texts[shared])} in one and {shown(own[shared])} in "
                "another; merging them would count those twice\n"
                "  cut the corpus into parts that share none"
            )
        self._texts |= own

    def _refuse_shared_names(self, part: Provenance) -> None:
        """Raise InputError for an id that two parts give to different texts."""
        names = [name for name, *_ in part.samples]
        if shared := next((name for name in names if name in self._names), None):
            raise InputError(
                f"these Records call different texts by one id, the first {shown(shared)}; the whole could not tell "
                "them apart\n"
                "  give every line of the corpus an id of its own, or none; an earlier version counted lines without"
            )
        self._names.update(names)


class Origin:
    """Where the parts come from, added up."""

    def __init__(self) -> None:
        self._samples: list[_Sample] = []
        self._digests: list[str] = []
        self._texts: list[str] = []
        self._parts = 0
        self._batching: Counter[str] = Counter()
        self._files: tuple[tuple[str, str], ...] = ()
        self._tokens: str | None = None
        self._context: Context | None = None
        self._deployed: AsDeployed | None = None

    def add(self, part: Provenance) -> None:
        self._samples += part.samples
        self._digests += part.sample_digests
        self._texts += part.text_digests
        self._batching.update({key: count for key, count in part.batching.items() if key != "batch_tokens"})
        if not self._parts:
            self._files, self._tokens = part.files, part.tokens_sha256
            self._context, self._deployed = part.context, part.deployed
        else:
            self._files = part.files if part.files == self._files else ()
            self._tokens = merged_tokens((self._tokens, part.tokens_sha256))
            self._context = merged_context((self._context, part.context))
            self._deployed = joined_deployed((self._deployed, part.deployed))
        self._parts += 1

    @property
    def order(self) -> list[int]:
        """Which of the samples, as the parts had them one after the other, stands where in the whole."""
        return sorted(range(len(self._samples)), key=lambda place: self._samples[place])

    @property
    def evaluated(self) -> list[int]:
        """The same of those of the evaluation split, among themselves."""
        own = [sample for sample in self._samples if sample[2] == "evaluation"]
        return sorted(range(len(own)), key=lambda place: own[place])

    def joined(self, first: Provenance) -> Provenance:
        """Where the whole comes from. Of a measurement that was cut, every part knows how the whole text fits the
        model.
        """
        cut = first.shard is not None
        order = self.order
        digests = tuple(self._digests[place] for place in order)
        return replace(
            first,
            samples=tuple(self._samples[place] for place in order),
            sample_digests=digests,
            text_digests=tuple(self._texts[place] for place in order) if len(self._texts) == len(order) else (),
            corpus_sha256=corpus_digest(digests),
            files=self._files,
            tokens_sha256=self._tokens,
            context=first.context if cut else self._context,
            deployed=first.deployed if cut else self._deployed,
            shard=None,
            batching={key: self._batching.get(key, count) for key, count in first.batching.items()},
        )


def _require_alike(first: Record, other: Record) -> None:
    """Raise InputError for a Record that is no part of the measurement that `first` is of."""
    if first.observed.keys() != other.observed.keys() or first.scaled.keys() != other.scaled.keys():
        raise InputError("these Records are not parts of one measurement; they observed different sites")
    if first.effects or other.effects:
        raise InputError(
            "the effect of a scheme on predictions does not add up over parts of a corpus; measure it on the whole"
        )
    if first.source or other.source:
        raise InputError(
            "what an artifact is against its source does not add up over parts of a corpus; measure it on the whole"
        )
    if differing := part_differences(first.provenance, other.provenance):
        raise InputError(f"these Records are not parts of one measurement; they differ in {', '.join(differing)}")
    if first.weights != other.weights:
        raise InputError("these Records are not parts of one measurement; they differ in what their weights hold")
    one, another = first.provenance.shard, other.provenance.shard
    if (one or "/").split("/")[1] != (another or "/").split("/")[1]:
        raise InputError(
            f"these Records are not parts of one measurement: one is {_part_words(one)}, another {_part_words(another)}"
            "\n  merge the parts of one cut"
        )


def _refuse_missing(given: Set[int], count: int) -> None:
    """Raise InputError for a cut of which a part is not there, with its number."""
    if missing := [number for number in range(1, count + 1) if number not in given]:
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        named = ", ".join(map(str, missing[:8]))
        raise InputError(
            f"of {count} parts {len(missing)} {'is' if len(missing) == 1 else 'are'} missing: {named}{more}\n"
            f"  measure them with {setting('shard')} {missing[0]}/{count}, and merge all"
        )


def _number(shard: str) -> int:
    return int(shard.split("/")[0])


def _part_words(shard: str | None) -> str:
    return "part {} of {}".format(*shard.split("/")) if shard else "a whole"
