"""Whether what a Record says agrees with itself: a Record in, nothing out, or ValueError with the first contradiction.

Guard: a file whose checksum was computed anew passes no limit by figures that its own histograms do not bear out.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping

from pytest_maxact.errors import cut, shown
from pytest_maxact.numbers.counted import counted, counted_of
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import CARRIER, KINDS
from pytest_maxact.record.effect import KEPT, UNDONE, Effect
from pytest_maxact.record.provenance import Provenance, corpus_digest
from pytest_maxact.record.reading import SPLITS, SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.sound.behaviour import require_sound_predictions, require_sound_probes
from pytest_maxact.record.sound.effects import require_sound_samples
from pytest_maxact.record.sound.maxima import require_sound_texts
from pytest_maxact.record.sound.sampled import require_sound_sampled
from pytest_maxact.record.sound.scaled import require_sound_scaled
from pytest_maxact.record.sound.scales import require_sound_scales
from pytest_maxact.record.sound.site import Text, require_sound_site
from pytest_maxact.record.sound.source import require_sound_source
from pytest_maxact.record.sound.stress import require_sound_hunt, require_sound_stress
from pytest_maxact.record.sound.weights import require_sound_weights
from pytest_maxact.record.units import units_of

_WITHOUT_LAYER = ("embedding", "final_norm")
_BATCHING = ("batch_tokens", "batches", "padded_tokens", "out_of_memory")


def require_sound(record: Record) -> None:
    """Raise ValueError that names the key and what it contradicts."""
    provenance = record.provenance
    text = _text(provenance)
    _require_sites(provenance, record.sites)
    units = len(units_of(provenance).strata)
    routed = {reading.site.layer for reading in record.sites.values() if reading.tokens_per_expert is not None}
    for reading in record.sites.values():
        known = set(provenance.schemes)
        for what, names in (("schemes", set(reading.held.schemes)), ("weights", _schemes_of_weights(reading))):
            if other := sorted(names - known):
                raise ValueError(f"{reading.site.name}: {what}: {shown(other[0])} is none of provenance.schemes")
        require_sound_site(reading, text, is_routed=reading.site.layer in routed)
        require_sound_sampled(reading, units)
    require_sound_scaled(record, text, routed)
    _require_effects(record, text)
    require_sound_source(record.source, text.evaluation)
    require_sound_predictions(record)
    require_sound_probes(record)
    require_sound_weights(record.weights)
    _require_stopped(provenance, record.sites)
    _require_shard(provenance.shard)
    _require_deployed(record)
    _require_logits(record)
    _require_noise(record)
    require_sound_scales(record)
    require_sound_stress(record)
    require_sound_hunt(record)
    require_sound_texts(record)


def _require_stopped(provenance: Provenance, sites: Mapping[str, SiteReading]) -> None:
    """A pass that ended early had seen what it was asked to see, and no more than there was, at sites that are there;
    what rose last is one that it watched.
    """
    stopped = provenance.stopped
    if stopped is None:
        return
    tokens, samples = provenance.tokens, len(provenance.samples)
    if not (stopped.last_rose <= tokens <= stopped.of_tokens and samples <= stopped.of_samples):
        raise ValueError(
            f"provenance.stopped: {counted_of(tokens, stopped.of_tokens, 'token')} of "
            f"{counted_of(samples, stopped.of_samples, 'sample')}, the last rise by token {stopped.last_rose}"
        )
    watched = stopped.watched or tuple(sites)
    if unknown := [name for name in watched if name != CARRIER and name not in sites]:
        raise ValueError(f"provenance.stopped: it watched {shown(unknown[0])}, of which the Record holds nothing")
    of_m = CARRIER in watched and stopped.site in sites and sites[stopped.site].site.counted
    if stopped.site not in watched and not of_m:
        raise ValueError(f"provenance.stopped: {shown(stopped.site)} rose last, which was not watched")
    early = (tokens, samples) != (stopped.of_tokens, stopped.of_samples)
    if early and tokens - stopped.last_rose < stopped.asked:
        raise ValueError(
            f"provenance.stopped: it ended {tokens - stopped.last_rose} tokens after the last rise, where "
            f"{stopped.asked} were asked for"
        )


def _require_shard(shard: str | None) -> None:
    """A part of a measurement is the K-th of N."""
    part, _, parts = (shard or "1/1").partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"provenance.shard: {shown(cut(str(shard), 40))} is no part K/N of a whole")


def _text(provenance: Provenance) -> Text:
    """The samples of a Record, or ValueError."""
    samples, digests = provenance.samples, provenance.sample_digests
    if not samples:
        raise ValueError("provenance.samples: none, so nothing was measured and nothing can be judged")
    tokens: dict[str, int] = {}
    of_split = dict.fromkeys(SPLITS, 0)
    for name, _, split, count in samples:
        if name in tokens:
            raise ValueError(f"provenance.samples: {shown(name)} stands there twice")
        if split not in of_split:
            raise ValueError(f"provenance.samples: {shown(name)} is of split {shown(split)}, there are {SPLITS}")
        if not 1 <= count <= provenance.max_seq_len:
            raise ValueError(
                f"provenance.samples: {shown(name)} has {counted(count, 'token')}, where a sample has 1 to "
                f"{provenance.max_seq_len} (max_seq_len)"
            )
        tokens[name] = count
        of_split[split] += count
    if len(digests) != len(samples):
        raise ValueError(f"provenance.sample_digests: {counted_of(len(digests), len(samples), 'sample')}")
    if len(provenance.text_digests) not in (0, len(samples)):
        raise ValueError(f"provenance.text_digests: {counted_of(len(provenance.text_digests), len(samples), 'sample')}")
    if provenance.corpus_sha256 != corpus_digest(digests):
        raise ValueError("provenance.corpus_sha256: not that of the samples")
    if not provenance.protocol.isprintable():
        raise ValueError(f"provenance.protocol: {shown(provenance.protocol)}, which is none")
    if missing := [name for name in _BATCHING if name not in provenance.batching]:
        raise ValueError(f"provenance.batching.{missing[0]}: missing")
    for scheme, times in Counter(provenance.schemes).items():
        if scheme not in SCHEMES or times > 1:
            raise ValueError(f"provenance.schemes: {shown(scheme)} is no scheme, or stands there twice")
    placed = {name: (split, count) for name, _, split, count in samples}
    return Text(samples=tokens, placed=placed, calibration=of_split["calibration"], evaluation=of_split["evaluation"])


def _require_sites(provenance: Provenance, sites: Mapping[str, SiteReading]) -> None:
    for reading in sites.values():
        site = reading.site
        if site.kind not in KINDS:
            raise ValueError(f"sites: {shown(site.kind)} is no kind of site")
        if (site.layer is None) != (site.kind in _WITHOUT_LAYER):
            raise ValueError(f"sites: {site.name} is no site; a layer has {'none' if site.layer else 'each'} of them")
        if site.layer is not None and site.layer >= provenance.layers:
            raise ValueError(
                f"sites: {site.name} of a model of {counted(provenance.layers, 'layer')} (provenance.layers)"
            )
    layers = sorted(reading.site.layer or 0 for reading in sites.values() if reading.site.kind == "hidden")
    if layers != list(range(provenance.layers)):
        raise ValueError(
            f"sites: {counted(len(layers), 'layer')} of the residual stream, of a model of {provenance.layers} "
            "(provenance.layers)"
        )
    if not any(reading.site.counted for reading in sites.values()):
        raise ValueError("sites: none that counts toward the largest magnitude, so nothing can be judged")
    if len({type(reading.held) for reading in sites.values()}) > 1:
        raise ValueError("sites: some with distributions and some with figures in their place")


def _schemes_of_weights(reading: SiteReading) -> set[str]:
    return {scheme for by_scheme in reading.weights.values() for scheme in by_scheme}


def _require_effects(record: Record, text: Text) -> None:
    for name, effect in record.effects.items():
        scheme = name.removesuffix(KEPT).removesuffix(UNDONE)
        if scheme not in SCHEMES or effect.scheme != scheme:
            raise ValueError(f"effects.{shown(name)}: of scheme {shown(effect.scheme)}, which it is not called by")
        if name == scheme and effect.kept:
            raise ValueError(f"effects.{name}.kept: sites in 16 bits, where the whole model was quantized")
        known = _linear_layers(record) if name.endswith(UNDONE) else record.sites
        if unknown := [kept for kept in effect.kept if not _is_known(kept, known)]:
            raise ValueError(f"effects.{name}.kept: no site {shown(unknown[0])} in this Record")
        deployed = record.provenance.deployed
        _require_effect(name, effect, text.evaluation + (deployed.tokens if deployed else 0))


def _linear_layers(record: Record) -> set[str]:
    return {path for reading in record.sites.values() for path in reading.shared}


def _is_known(kept: str, known: Collection[str]) -> bool:
    """Whether a site, or a linear layer by its path in the model or in its decoder, is one of a Record's."""
    return kept in known or any(kept.endswith(f".{path}") for path in known)


def _require_deployed(record: Record) -> None:
    """Text as it is deployed was met by every site or by none, and attention scores are of layers that there are."""
    deployed = record.provenance.deployed
    if deployed and (deployed.samples > deployed.tokens or bool(deployed.samples) != bool(deployed.tokens)):
        raise ValueError(
            f"provenance.deployed: {counted(deployed.samples, 'sample')} of {counted(deployed.tokens, 'token')}"
        )
    met = bool(deployed and deployed.samples)
    for reading in record.sites.values():
        if (reading.as_deployed is not None) != met:
            raise ValueError(
                f"{reading.site.name}: as_deployed: {reading.as_deployed}, where provenance.deployed has "
                f"{counted(deployed.samples, 'sample') if deployed else 'no samples'}"
            )
        if reading.as_deployed is not None and math.isnan(reading.as_deployed):
            raise ValueError(f"{reading.site.name}: as_deployed: nan, where what is no number counts as inf")
    if broken := next((found for found in record.scores or () if math.isnan(found.largest)), None):
        raise ValueError(f"scores: nan in layer {broken.layer}, where what is no number counts as inf")
    layers = [found.layer for found in record.scores or ()]
    if len(set(layers)) != len(layers) or any(layer >= record.provenance.layers for layer in layers):
        raise ValueError(f"scores: of layers {layers}, of a model of {record.provenance.layers} (provenance.layers)")


def _require_logits(record: Record) -> None:
    """Logits are of layers and heads that there are, once each, and of samples that were measured."""
    layers = {reading.site.layer or 0 for reading in record.sites.values() if reading.site.kind == "q"}
    places = [(found.layer, found.part) for found in record.logits or ()]
    tokens = {name: count for name, *_, count in record.provenance.samples}
    if len(set(places)) != len(places) or {layer for layer, _ in places} != (layers if record.logits else set()):
        raise ValueError(
            f"logits: of layers {sorted({layer for layer, _ in places})}, where {sorted(layers)} were read"
        )
    for found in record.logits or ():
        key = f"logits of layer {found.layer}"
        if any(map(math.isnan, found.heads)) or found.head >= len(found.heads):
            raise ValueError(f"{key}: nan, where what is no number counts as inf, or a head that there is not")
        if found.heads[found.head] != found.largest:
            raise ValueError(f"{key}: head {found.head} has not the largest")
        if max(found.query, found.key) >= tokens.get(found.sample, 0):
            raise ValueError(f"{key}: of a token that {shown(found.sample)} has not")


def _require_noise(record: Record) -> None:
    """What was repeated is of the sites that were measured, and of no more than was measured; it was repeated."""
    noise = record.noise
    if noise is None:
        return
    if noise.sites.keys() != record.sites.keys():
        raise ValueError(f"noise.sites: {counted(len(noise.sites), 'site')}, where {len(record.sites)} were measured")
    if not noise.conditions:
        raise ValueError("noise.conditions: none, so nothing was repeated")


def _require_effect(name: str, effect: Effect, tokens: int) -> None:
    if not 1 <= effect.samples <= effect.tokens <= tokens:
        raise ValueError(
            f"effects.{name}.tokens: {counted(effect.samples, 'sample')} of {counted(effect.tokens, 'token')}, where "
            f"{tokens} {'was' if tokens == 1 else 'were'} there to predict from"
        )
    if effect.perplexity < 1:
        raise ValueError(f"effects.{name}.perplexity: {effect.perplexity}, which lies below 1")
    require_sound_samples(f"effects.{name}", effect)
    above = effect.tokens - -(-99 * effect.tokens // 100) + 1
    if effect.mean_kl * effect.tokens < effect.kl_q99 * above * (1 - 1e-9):
        raise ValueError(f"effects.{name}.mean_kl: {effect.mean_kl}, less than a hundredth at {effect.kl_q99} gives")
