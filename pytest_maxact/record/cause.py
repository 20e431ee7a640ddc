"""What writes a massive channel: the channel, the weight entries that were tried, and what each proved to be."""

from collections.abc import Mapping
from dataclasses import dataclass

MATRIX, BIAS, GAIN, EMBEDDING = "matrix", "bias", "norm gain", "embedding row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One weight entry set to zero. `place`: its indices in the parameter, of an embedding the row and the channel;
    `outlier`: its magnitude in root mean squares of the parameter.
    `share`: how much of the activation it writes, to first order. `without`: the channel's largest magnitude then, on
    the same tokens; `m`: that of all counted sites; `mean_kl` in nats and `top1` tell what predictions become, None
    where there are none. `kept`: by scheme, what is left of the entry after rounding, as a share of it.
    """

    parameter: str
    kind: str
    place: tuple[int, ...]
    value: float
    outlier: float
    share: float
    without: float
    m: float
    mean_kl: float | None
    top1: float | None
    kept: Mapping[str, float]

    def writes(self, largest: float) -> bool:
        """Whether the channel loses half of its largest magnitude without it, and more."""
        return self.without < largest / 2

    @property
    def called(self) -> str:
        return f"{self.parameter}[{', '.join(map(str, self.place))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One massive channel of the residual stream: where it arises, how large it is there and beside the median channel,
    at which token, and the entries that were tried, the one that writes most first.
    """

    channel: int
    site: str
    largest: float
    ratio: float
    m: float
    sample: str
    position: int
    token: str
    trials: tuple[Trial, ...]

    @property
    def found(self) -> Trial | None:
        """The entry that writes it; None where no single one does. Of several without which it is gone, on one path,
        the one that stands out most in its own parameter.
        """
        proven = [trial for trial in self.trials if trial.writes(self.largest)]
        return max(proven, key=lambda trial: (trial.outlier, abs(trial.share)), default=None)
