"""transformers, and accelerate where it has a part, without their progress bars and reports."""

import logging as messages
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without progress bars and reports; what matters of them is checked and raised here."""
    from transformers.utils import logging

    placing = messages.getLogger("accelerate.big_modeling")
    placed = placing.level
    placing.setLevel(messages.ERROR)
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        placing.setLevel(placed)
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
