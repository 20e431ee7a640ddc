"""A plan of a measurement as plain data: what a model needs, what there is, and the ways to run it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to run a model. `takes`: bytes by device; `against`: why it cannot be, empty where it can; `seconds`:
    about how long the corpus takes, None where that was not probed; `on_disk`: bytes that are read from disk at every
    batch, or, streamed, once.
    """

    how: str
    device: str
    takes: tuple[tuple[str, int], ...]
    against: str
    on_disk: int
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """What a short probe found: multiply-adds count twice. None where there was nothing to probe, with the reason in
    `unprobed`.
    """

    flops: float | None
    disk: float | None
    unprobed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """`parts`: what is needed, by name, in bytes; `rooms`: free and total bytes by device; `tokens` of the corpus, that
    are `about` so many where there is no tokenizer; `chosen`: the way that is taken, in a line, empty where none fits,
    and then `against` says why.
    """

    model: str
    model_type: str
    dtype: str
    parameters: int
    layers: int
    parts: tuple[tuple[str, int], ...]
    rooms: tuple[tuple[str, int, int], ...]
    batch_tokens: int
    tokens: int
    about: bool
    flops_per_token: float
    speeds: Speeds
    ways: tuple[Way, ...]
    chosen: str
    against: str
