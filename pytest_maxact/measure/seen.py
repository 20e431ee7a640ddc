"""Encoded sequences beside a corpus through the same observer as the corpus: a loaded model in, readings by site out.

Guard: whatever input a figure is of, one instrument measured it, and every batch was checked for coverage.
"""

from collections.abc import Sequence
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.readings import readings
from pytest_maxact.record.reading import SiteReading


def seen_on(
    loaded: LoadedModel, anatomy: Anatomy, sequences: Sequence[corpus.Sequence], batch_tokens: int, tokenizer: Any
) -> dict[str, SiteReading]:  # fmt: skip
    """What every site gives on these sequences, of single samples nothing. Raises MeasureError where that could not be
    measured in full.
    """
    observer = Observer(loaded.decoder, anatomy, maxima=False)
    splits = {sequence.sample.id: "evaluation" for sequence in sequences}
    with observer.attached():
        observer.run(corpus.plan_batches(sequences, splits, batch_tokens), loaded.device)
    observer.finish()
    return readings(observer, tokenizer)
