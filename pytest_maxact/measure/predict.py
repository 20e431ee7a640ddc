"""What the model itself predicts: final hidden states of chosen tokens, as the pass gives them, through the model's own
head, and the surprise at the token that follows.

The tokens are the leading ones of evaluation samples, as many of each category. What they are held against is how often
each token occurs in the other samples: a unigram distribution that never saw the sample, of the category, of the whole
corpus, or of no text at all, whichever does best. Nothing that has learnt no order of tokens beats it by much.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.errors import MeasureError, first_line
from pytest_maxact.measure.effect.effects import HEAD_ROWS
from pytest_maxact.measure.effect.headed import Headed, headed_of
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.reduction import Entry, How, State, value_of
from pytest_maxact.measure.observe.rowwork import at_once
from pytest_maxact.record.predictions import STEP, Predicted, Predictions

TOKENS = 4096
"""About so many tokens are predicted, in equal parts of every category."""
LEADING = 512
"""So many of one sample at most."""
_PROBED = 8
_NOTHING = np.zeros(6)
Telling = Callable[[LoadedModel, Sequence[corpus.Sequence], int], tuple["Predicting | None", str]]
"""A model, the samples that it runs on and its vocabulary -> what to hand final hidden states to, or why nothing."""


class Predicting:
    """What was predicted so far. `see` computes a batch, and what it returns keeps it."""

    def __init__(self, headed: Headed, sequences: Sequence[corpus.Sequence], vocabulary: int) -> None:
        self._headed = headed
        self._chosen = chosen(sequences)
        self._shares = Shares(sequences, vocabulary)
        self._found = {sequence.sample.category: _NOTHING for sequence, _ in self._chosen.values()}
        """Sums by category, as `_summed` has them."""

    def see(self, batch: Batch, states: torch.Tensor) -> Callable[[], None]:
        """`states`: final hidden states [B, T, width] of a batch; what is returned keeps what was found of them."""
        if states.shape[:2] != batch.ids.shape:
            raise MeasureError(
                f"final hidden states of shape {list(states.shape)} for a batch of {list(batch.ids.shape)}\n"
                "  its predictions cannot be measured yet; please report the model_type"
            )
        found: list[tuple[corpus.Sequence, torch.Tensor]] = []
        for row, (sequence, start) in enumerate(zip(batch.plan.sequences, batch.starts, strict=True)):
            if sequence.sample.id in self._chosen:
                tokens = self._chosen[sequence.sample.id][1]
                ids = batch.ids[row, start : start + tokens + 1]
                found.append((sequence, self._surprise(ids, states[row, start : start + tokens])))

        def keep() -> None:
            for (sequence, _), told in zip(found, at_once([told for _, told in found]), strict=True):
                surprise = told.numpy()
                expected = self._shares.surprise(sequence, len(surprise))
                category = sequence.sample.category
                self._found[category] = self._found[category] + _summed(surprise, expected)

        return keep

    def _surprise(self, ids: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Nats at each token that follows, float64 on the device; NaN where the distribution is not finite."""
        parts = []
        for start in range(0, len(states), HEAD_ROWS):
            rows = slice(start, start + HEAD_ROWS)
            here = ids[:-1][rows].to(states.device)
            logits = self._headed.logits(here, states[rows]).float()
            whole = logits.logsumexp(1)
            after = ids[1:][rows, None].to(logits.device)
            parts.append(torch.where(whole.isfinite(), whole - logits.gather(1, after).squeeze(1), math.nan).double())
        return torch.cat(parts)

    def result(self) -> Predictions:
        """All that was predicted, by category."""
        return Predictions(categories=tuple(_told(name, found) for name, found in sorted(self._found.items())))

    def state(self) -> State:
        """All that was kept so far, by category."""
        return {"categories": Entry({name: found.tolist() for name, found in self._found.items()}, How.SUM)}

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""
        known = value_of(state, "categories", {})
        self._found = {name: np.array(known.get(name, _NOTHING), np.float64) for name in self._found}


def predicting(
    loaded: LoadedModel, sequences: Sequence[corpus.Sequence], vocabulary: int
) -> tuple[Predicting | None, str]:
    """What to hand final hidden states to; None, and why, where predictions cannot be told by them."""
    headed, why = head_of(loaded, sequences)
    return Predicting(headed, sequences, vocabulary) if headed else None, why


def head_of(loaded: LoadedModel, sequences: Sequence[corpus.Sequence]) -> tuple[Headed | None, str]:
    """A model's head, tried on a few tokens; None, and why, where predictions do not follow from final hidden states.
    Raises MeasureError where the forward pass fails.
    """
    if loaded.headed is None:
        return None, loaded.unpredicted
    longest = max(sequences, key=len)
    try:
        with torch.inference_mode():
            ids = tried_on(sequences, loaded.device)
            return headed_of(loaded.headed, ids, loaded.device, loaded.decoder), ""
    except MeasureError as error:
        return None, str(error).split("\n")[0]
    except Exception as error:
        raise MeasureError(
            f"the forward pass failed on the first {_PROBED} tokens of sample {longest.sample.id}: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error


def tried_on(sequences: Sequence[corpus.Sequence], device: torch.device) -> torch.Tensor:
    """The few ids [tokens] that a head is tried on."""
    return torch.tensor(max(sequences, key=len).ids[:_PROBED], device=device)


def chosen(sequences: Sequence[corpus.Sequence]) -> dict[str, tuple[corpus.Sequence, int]]:
    """Samples of the evaluation split, in the order of their ids, and how many leading tokens of each are predicted
    from.
    """
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    groups: dict[str, list[corpus.Sequence]] = {}
    for sequence in sorted(sequences, key=lambda sequence: sequence.sample.id):
        if splits[sequence.sample.id] == "evaluation" and len(sequence) > 1:
            groups.setdefault(sequence.sample.category, []).append(sequence)
    found: dict[str, tuple[corpus.Sequence, int]] = {}
    for group in groups.values():
        left = -(-TOKENS // len(groups))
        for sequence in group:
            if left <= 0:
                break
            found[sequence.sample.id] = (sequence, min(len(sequence) - 1, LEADING, left))
            left -= found[sequence.sample.id][1]
    return found


class Shares:
    """How often every token occurs, in the samples of a category and in all of them."""

    def __init__(self, sequences: Sequence[corpus.Sequence], vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._all = np.zeros(vocabulary, np.int64)
        self._by_category: dict[str, npt.NDArray[np.int64]] = {}
        for sequence in sequences:
            counts = self._counts(sequence)
            self._all += counts
            self._by_category[sequence.sample.category] = (
                self._by_category.get(sequence.sample.category, np.zeros(vocabulary, np.int64)) + counts
            )

    def surprise(self, sequence: corpus.Sequence, tokens: int) -> npt.NDArray[np.float64]:
        """Nats at the `tokens` tokens after a sample's first, float64 [3, tokens]: by the other samples of the
        category, by all others, and where all tokens are alike.
        """
        own, after = self._counts(sequence), np.asarray(sequence.ids[1 : tokens + 1])
        alike = np.full(self._vocabulary, 1.0 / self._vocabulary)
        everywhere = _smoothed(self._all - own, alike)
        here = _smoothed(self._by_category[sequence.sample.category] - own, everywhere)
        nats: npt.NDArray[np.float64] = -np.log(np.stack([shares[after] for shares in (here, everywhere, alike)]))
        return nats

    def _counts(self, sequence: corpus.Sequence) -> npt.NDArray[np.int64]:
        counts: npt.NDArray[np.int64] = np.bincount(np.asarray(sequence.ids), minlength=self._vocabulary)
        return counts


def _smoothed(counts: npt.NDArray[np.int64], otherwise: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shares by Witten and Bell: as much weight on `otherwise` as there are different tokens."""
    kinds, total = int((counts > 0).sum()), int(counts.sum())
    return (counts + kinds * otherwise) / (total + kinds) if total else otherwise


def _summed(surprise: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Nats [tokens] at tokens and those of three ways to expect them [3, tokens], as sums that add up exactly: tokens,
    those without a finite distribution, and over the others the nats of the model and of each of the three.
    """
    finite = ~np.isnan(surprise)
    nats = [_rounded(surprise[finite]).sum(), *_rounded(expected[:, finite]).sum(1)]
    return np.array([len(surprise), (~finite).sum(), *nats], np.float64)


def _told(category: str, found: npt.NDArray[np.float64]) -> Predicted:
    tokens, nonfinite, nll, *unigram = found.tolist()
    return Predicted(
        category=category, tokens=int(tokens), nonfinite=int(nonfinite), nll=nll, unigram=min(unigram)
    )  # fmt: skip


def _rounded(nats: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """To multiples of `STEP`, which add up exactly."""
    return np.rint(nats / STEP) * STEP
