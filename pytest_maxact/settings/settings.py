"""Every setting of a run, as plain data. Standard library only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of a run; the fields are the options of `OPTIONS`, named as on the command line."""

    model: str | None = None
    revision: str | None = None
    weights: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    arithmetic: str = "auto"
    trust_remote_code: bool = False
    corpus: str | None = None
    corpus_tokenizer: str | None = None
    max_samples: int | None = None
    max_tokens: int | None = None
    until_saturated: int | None = None
    max_seq_len: int = 4096
    batch_tokens: int = 8192
    shard: str | None = None
    seed: int = 0
    protocol: str = "paper"
    sites: str = "auto"
    schemes: tuple[str, ...] = ()
    effect: tuple[str, ...] = ()
    stress: bool = False
    hunt: tuple[str, ...] = ()
    hunt_seconds: int = 300
    hunt_out: str | None = None
    deploy: tuple[str, ...] = ()
    repeat: int | None = None
    limits: str | None = None
    family: str | None = None
    baseline: tuple[str, ...] = ()
    source: str | None = None
    horizon: int | None = None
    replay: str | None = None
    update: str | None = None
    loosen: bool = False
    strict: bool = False
    close: str = "warn"
    cache: str | None = None
    resume: str = "on"
    save: str | None = None
    slim: bool = False
    verdict: str | None = None
    json_report: str | None = None
    html: str | None = None
    sarif: str | None = None
    codequality: str | None = None
    card: str | None = None
    bom: str | None = None
    github: str = "auto"

    @property
    def wanted(self) -> bool:
        """Whether a gate was asked for at all."""
        return self.model is not None or self.replay is not None

    @property
    def linear_inputs(self) -> bool:
        """Whether the inputs of linear layers are observed: asked for, or needed by a scheme."""
        from pytest_maxact.numbers.schemes import SCHEMES

        return self.sites in ("deploy", "all") or any(SCHEMES[name].is_of_linears for name in self.schemes_measured)

    @property
    def attention(self) -> bool:
        """Whether queries, keys, values and attention scores are observed: asked for, or needed by a scheme."""
        from pytest_maxact.numbers.schemes import SCHEMES

        return self.sites in ("attention", "all") or any(SCHEMES[name].cache for name in self.schemes_measured)

    @property
    def schemes_measured(self) -> tuple[str, ...]:
        """Schemes that the pass quantizes with; where sites of theirs were asked for and no scheme, the usual ones."""
        from pytest_maxact.numbers.schemes import usual_schemes

        return self.schemes_named or usual_schemes(self.sites)

    @property
    def schemes_named(self) -> tuple[str, ...]:
        """Schemes that were asked for by name, each part of `W8A8+KV_FP8` on its own."""
        from pytest_maxact.numbers.schemes import SCHEMES

        parts = (part for name in (*self.schemes, *self.deploy, *self.effect) for part in SCHEMES[name].parts)
        return tuple(dict.fromkeys(parts))

    @property
    def effects_measured(self) -> tuple[str, ...]:
        """Schemes whose effect on predictions is measured: asked for, or gated."""
        return tuple(dict.fromkeys((*self.effect, *self.deploy)))
