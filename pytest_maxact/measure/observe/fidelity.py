"""What the schemes of a run do to the inputs of linear layers, and to what a KV cache keeps: sums over sampled tokens,
and the largest magnitude of every channel.

Channels are of the calibration split, whose batches run first, so that a static scale is known when the evaluation
split is quantized. Sampled are tokens of the evaluation split, one in a stated number, the same ones however the corpus
is batched. A batch is staged and committed whole.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from pytest_maxact.checkpoint.quantize import Quantized
from pytest_maxact.checkpoint.quantize_cache import through_cache
from pytest_maxact.measure.observe.by_sample import SIGNAL, BySample
from pytest_maxact.measure.observe.cached import Cached, largest_of, spread_of
from pytest_maxact.measure.observe.reduction import Entry, How, State, grouped, under, value_of, within
from pytest_maxact.measure.observe.rowwork import Locate, in_place
from pytest_maxact.measure.observe.sums import Exact, Sums
from pytest_maxact.numbers.caches import Cache
from pytest_maxact.numbers.schemes import Scheme
from pytest_maxact.numbers.sums import SchemeSums

if TYPE_CHECKING:
    from pytest_maxact.checkpoint.sites.anatomy import Tap
    from pytest_maxact.measure.observe.batch import Batch

SAMPLED_TOKENS = 4096
"""About so many tokens of the evaluation split are sampled."""
_PIECE = 1 << 19
_Key = tuple[str, str]


class Fidelity:
    """Sums per site and scheme, of all samples and of each, and channels per site and part. `schemes`: those with
    quantized activations; `sites`: those of which sums of samples are kept.
    """

    def __init__(self, schemes: Sequence[Scheme] = (), sites: Sequence[str] = ()) -> None:
        self.schemes = {scheme.name: how for scheme in schemes if (how := scheme.activations) is not None}
        cached = {scheme.name: scheme.cache for scheme in schemes if scheme.cache}
        self.caches = {name: how for name, how in cached.items() if how.shared != "tensor"}
        """Those that share a scale for less than a tensor; what one for a tensor does follows from its histogram."""
        self.cached = Cached()
        self.samples = BySample(sites, [*self.schemes, *self.caches])
        """Of every sample its sampled rows."""
        self._spreads = bool(cached)
        self._totals: dict[_Key, Sums] = {}
        self._refused: set[_Key] = set()
        self.channels: dict[_Key, torch.Tensor] = {}
        """Largest magnitude of every channel over the calibration split, [width] in the tensor's dtype, by site and
        part.
        """
        self.whole: Callable[[Tap, torch.Tensor], torch.Tensor] = lambda tap, rows: rows
        """Of rows that hold some channels, those with all of them, where several processes hold one model."""
        self._staged_sums: dict[_Key, Sums] = {}
        self._staged_channels: list[tuple[_Key, torch.Tensor]] = []

    @property
    def calibrates(self) -> bool:
        """Whether a scheme takes a scale from calibration while the pass runs."""
        linear = any(how.needs_calibration for how in self.schemes.values())
        return linear or any(how.needs_calibration for how in self.caches.values())

    @property
    def sums(self) -> dict[_Key, SchemeSums]:
        """By site and scheme, read from the device; none of a site of which a scheme cannot quantize every part."""
        return {key: total.read() for key, total in self._totals.items() if key not in self._refused}

    def observe(
        self, tap: "Tap", values: torch.Tensor, chosen: torch.Tensor, batch: "Batch", locate: Locate = in_place
    ) -> None:
        """Stage a tensor [rows, width] given to the linear layers of `tap`; `chosen` int64 are its sampled rows, of
        which `locate` gives the places in the batch.
        """
        if values.numel() == 0 or not batch.plan.sequences:
            return
        if batch.plan.split == "calibration":
            real = values[batch.real] if batch.padded and not tap.in_moe else values
            self._staged_channels.append(((tap.site.name, tap.part), self.whole(tap, real.abs().amax(dim=0))))
        elif self.schemes and chosen.numel():
            self._quantize(tap, self.whole(tap, values[chosen]), locate(chosen), batch)

    def keep(self, tap: "Tap", values: torch.Tensor, heads: int, chosen: torch.Tensor, batch: "Batch") -> None:
        """Stage what a cache keeps, rows [B x T, heads x width]; `chosen` int64 are those that are sampled."""
        key = tap.site.name, tap.part
        if batch.plan.split == "calibration":
            self._staged_channels.append((key, self.whole(tap, largest_of(values, batch))))
            return
        keys = tap.site.kind != "v"
        energy = self._energy(tap, values, batch) if keys and self._spreads else None
        self.cached.stage(key, self.whole(tap, largest_of(values, batch)), energy)
        if not self.caches or not chosen.numel():
            return
        rows = self.whole(tap, values[chosen])
        heads = heads * rows.shape[1] // values.shape[1]
        exact = Exact.of(rows.float() if rows.dtype == torch.float64 else rows)
        self._by_sample(tap, SIGNAL, exact.energy, chosen, batch)
        known = self.channels.get(key)
        for name, how in self.caches.items():
            refused = how.refuses(rows.shape[1] // heads, tap.site.kind == "kv_latent")
            if refused or (how.needs_calibration and known is None):
                self._refused.add((tap.site.name, name))
                continue
            whole = keys and how.shared == "channel"
            given = self.whole(tap, values[batch.real]) if whole else rows
            largest = None if known is None else self._largest(tap, known, heads, how)
            lengths = [len(sequence) for sequence in batch.plan.sequences]
            kept = through_cache(given.view(given.shape[0], heads, -1), how, keys, lengths, largest)
            flat = [part.flatten(1) for part in (kept.restored, kept.levels, kept.clipped)]
            sampled = Quantized(*(part[batch.sampled] if whole else part for part in flat))
            sums = self._staged_sums.setdefault((tap.site.name, name), Sums(rows.device))
            self._by_sample(tap, name, sums.take(exact, sampled, how.is_integer), chosen, batch)

    def _by_sample(self, tap: "Tap", name: str, energies: torch.Tensor, where: torch.Tensor, batch: "Batch") -> None:
        """Keep energies of rows that lie in the batch at `where`, negative where that is hidden."""
        sequences, length = batch.shape
        self.samples.stage(tap.site.name, name, energies, where.div(length, rounding_mode="floor"), sequences)

    def _energy(self, tap: "Tap", values: torch.Tensor, batch: "Batch") -> torch.Tensor:
        """Entries of a batch, and their energy about the mean."""
        channels = self.whole(tap, spread_of(values, batch))
        return torch.stack([torch.full_like(channels[0], batch.plan.tokens * channels.numel()), channels.sum()])

    def _largest(self, tap: "Tap", channels: torch.Tensor, heads: int, how: Cache) -> torch.Tensor:
        """The calibration maximum of every head; of a latent state, and below one scale for a tensor, that of all parts
        of the site, which share it.
        """
        if how.shared == "head" and tap.site.kind != "kv_latent":
            return channels.float().view(heads, -1).amax(1)
        parts = [found for (site, _), found in self.channels.items() if site == tap.site.name]
        return torch.stack([part.float().amax().to(channels.device) for part in parts]).amax().view(1)

    def _quantize(self, tap: "Tap", rows: torch.Tensor, where: torch.Tensor, batch: "Batch") -> None:
        known = self.channels.get((tap.site.name, tap.part))
        rows = rows.float() if rows.dtype == torch.float64 else rows
        amax = None if known is None else known.amax().to(rows.device, rows.dtype)
        schemes = {
            name: how
            for name, how in self.schemes.items()
            if not how.refuses(rows.shape[1]) and not (how.needs_calibration and amax is None)
        }
        self._refused |= {(tap.site.name, name) for name in self.schemes.keys() - schemes.keys()}
        sums = {name: self._staged_sums.setdefault((tap.site.name, name), Sums(rows.device)) for name in schemes}
        size = max(1, _PIECE // rows.shape[1])
        for piece, places in zip(torch.split(rows, size), torch.split(where, size), strict=True):
            exact = Exact.of(piece)
            self._by_sample(tap, SIGNAL, exact.energy, places, batch)
            for name, how in schemes.items():
                lost = sums[name].add(exact, how, amax if how.needs_calibration else None)
                self._by_sample(tap, name, lost, places, batch)

    def commit(self, batch: "Batch") -> None:
        """Keep what the batch staged."""
        for key, channels in self._staged_channels:
            known = self.channels.get(key)
            self.channels[key] = channels if known is None else torch.maximum(known.to(channels.device), channels)
        for key, sums in self._staged_sums.items():
            self._totals.setdefault(key, Sums(sums.device)).to(sums.device).join(sums)
        self.cached.commit()
        self.samples.commit(batch)
        self.rollback()

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged_sums, self._staged_channels = {}, []
        self.cached.rollback()
        self.samples.rollback()

    def state(self) -> State:
        """All that was committed so far."""
        entries = {"refused": Entry(sorted("/".join(key) for key in self._refused), How.UNION)}
        for key, channels in self.channels.items():
            entries |= under("channels", {"/".join(key): Entry(channels, How.MAX)})
        for key, total in self._totals.items():
            entries |= under("sums/" + "/".join(key), total.state())
        return entries | under("cached", self.cached.state()) | under("samples", self.samples.state())

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held; on the host, until the first batch tells where it is wanted."""
        self.rollback()
        self.cached.restore(within("cached", state))
        self.samples.restore(within("samples", state))
        self._refused = {_key_of(name) for name in value_of(state, "refused", [])}
        self.channels = {_key_of(name): entry.value.clone() for name, entry in within("channels", state).items()}
        self._totals = {
            (site, scheme): Sums.of(sums)
            for site, schemes in grouped(within("sums", state)).items()
            for scheme, sums in grouped(schemes).items()
        }


def _key_of(name: str) -> _Key:
    site, _, other = name.partition("/")
    return site, other
