"""The pass beside that of the corpus: text as it is deployed."""

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.scores import Scores
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.ranks.together import Together
from pytest_maxact.measure.resume.bookmarks import Bookmarks


def as_deployed(
    prepared: Prepared, loaded: LoadedModel, anatomy: Anatomy, batch_tokens: int, scores: Scores | None,
    bookmarks: Bookmarks | None, company: Together | None = None,
) -> Observer | None:  # fmt: skip
    """A pass over the samples as they are deployed, which widens ranges and calibrates static scales; None where there
    are none. `company`: who holds the model with this process.
    """
    if not prepared.beside:
        return None
    splits = {sequence.sample.id: "calibration" for sequence in prepared.beside}
    observer = Observer(loaded.decoder, anatomy, scores=scores)
    with observer.attached():
        observer.run(
            corpus.plan_batches(prepared.beside, splits, batch_tokens), loaded.device,
            company=company, follower=bookmarks.follow("as deployed", observer) if bookmarks else None,
        )  # fmt: skip
    if company is None or company.joined(observer, None):
        observer.finish()
    return observer
