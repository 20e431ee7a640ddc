"""How a measurement tells how far it is: what it does now, how much of that is done, and how much there is. No figure
depends on it. No torch.
"""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many tokens of it are done, and how many there are; 0 where that is not known."""
Counted = Callable[[int, int], None]
"""Called with tokens done and tokens in all."""

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
        progress(what, 0, 0)


def counted(progress: Progress | None) -> Counted | None:
    """How the pass tells its tokens."""
    return (lambda done, total: progress(MEASURING, done, total)) if progress else None
