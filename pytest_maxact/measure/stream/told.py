"""What a model's predictions are told by, where its layers are in memory one at a time: its head is tried on what two
pieces of work recorded of the decoder, in place of running it again and again.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.errors import MeasureError, first_line
from pytest_maxact.measure.effect.headed import altered, forwards
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.predict import Predicting, predicting, tried_on
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.stream.turns import Walk


class Telling:
    """`walks` come before all others in every turn; from their last on `see` is given the final hidden states of
    batches. `why`: why nothing is told, where nothing is.
    """

    def __init__(self, loaded: LoadedModel, prepared: Prepared, vocabulary: int) -> None:
        self._loaded, self._prepared, self._vocabulary = loaded, prepared, vocabulary
        self._recorded: list[Any] = []
        self.told: Predicting | None = None
        self.why = prepared.unpredicted or ("" if loaded.headed else loaded.unpredicted)

    def walks(self, begin: Callable[[Callable[[], None]], Walk[Any]]) -> list[Walk[Any]]:
        if self.why:
            return []
        ids = tried_on(self._prepared.whole, self._loaded.device)
        return [begin(lambda: self._record(ids)), begin(lambda: self._try(altered(ids)))]

    def see(self, batch: Batch, states: torch.Tensor) -> Callable[[], None]:
        return self.told.see(batch, states) if self.told else lambda: None

    def _record(self, ids: torch.Tensor) -> None:
        """What the decoder gives for a few tokens, as the model with its head runs it."""
        assert self._loaded.headed is not None
        mine = threading.get_ident()

        def keep(module: Any, args: Any, output: Any) -> None:
            if threading.get_ident() == mine:
                self._recorded.append(output)

        handle = self._loaded.decoder.register_forward_hook(keep)
        try:
            self._loaded.headed(input_ids=ids[None], use_cache=False)
        except Exception as error:
            if isinstance(error, MeasureError):
                raise
            raise MeasureError(
                f"the forward pass failed on {ids.numel()} tokens: {type(error).__name__}: {first_line(error)}"
            ) from error
        finally:
            handle.remove()

    def _try(self, other: torch.Tensor) -> None:
        self._record(other)
        with self._replayed():
            self.told, self.why = predicting(self._loaded, self._prepared.whole, self._vocabulary)

    @contextmanager
    def _replayed(self) -> Iterator[None]:
        """The decoder gives what it gave: for the tokens, then for the others."""
        given = list(self._recorded)
        with forwards({self._loaded.decoder: lambda *args, **kwargs: given.pop(0)}):
            yield
