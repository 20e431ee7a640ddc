"""How a measurement tells how far it is: what it does now, how much of that is done, how much there is, and the largest
activation so far. No figure depends on it, and nothing waits for it: it tells what lies on the host at the end of a
batch anyway. No torch.
"""

from collections.abc import Callable

Progress = Callable[[str, int, int, float], None]
"""Called with what is being done, how many tokens of it are done, how many there are, and the largest magnitude that a
counted site has given so far; 0 where that is not known, infinity where an entry was not finite.
"""
Counted = Callable[[int, int, float], None]
"""Called with tokens done, tokens in all, and the largest magnitude so far."""

LOADING = "loading the weights"
MEASURING = "measuring"
READING = "reading the weight files"
FIGURING = "working out the figures"
PREDICTING = "predicting as deployed"
COMPARING = "comparing with its source"
CAUSING = "looking for what writes massive channels"
HUNTING = "searching for worse inputs"
STRESSING = "trying inputs that no corpus has"


def begin(progress: Progress | None, what: str) -> None:
    """Tell that something begins of which nobody knows how long it takes."""
    if progress:
        progress(what, 0, 0, 0.0)


def counted(progress: Progress | None) -> Counted | None:
    """How the pass tells its tokens."""
    if progress is None:
        return None
    return lambda done, total, largest: progress(MEASURING, done, total, largest)
