"""What deployment adds to the text that was measured, and what was measured of it, as plain data."""

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_maxact.numbers.checked import Count


@dataclass(frozen=True, slots=True, kw_only=True)
class AsDeployed:
    """What the tokenizer `added` when it is deployed and the measured text lacks: special tokens, a chat template.
    `samples` and `tokens` of such text were measured beside the corpus, for ranges and static scales; none where no
    scheme was. `missing`: what of it could not be encoded, and why.
    """

    added: tuple[str, ...] = ()
    samples: Count = 0
    tokens: Count = 0
    missing: str = ""


def narrowness(deployed: AsDeployed | None, protocol: str) -> str:
    """What figures of deployment do not hold for, in words; "" where they hold for text as it is deployed."""
    if protocol != "paper":
        return ""
    if deployed is None:
        return "BOS and chat template (the Record tells nothing of them)"
    if deployed.missing:
        return deployed.missing
    return " and ".join(deployed.added) if deployed.added and not deployed.samples else ""


def joined_deployed(parts: Iterable[AsDeployed | None]) -> AsDeployed | None:
    """That of parts of one corpus together; None where that of one is not known."""
    known = list(parts)
    told = [part for part in known if part is not None]
    if len(told) < len(known) or not told:
        return None
    measured = all(part.samples for part in told if part.added)
    return AsDeployed(
        added=tuple(dict.fromkeys(name for part in told for name in part.added)),
        samples=sum(part.samples for part in told) if measured else 0,
        tokens=sum(part.tokens for part in told) if measured else 0,
        missing=next((part.missing for part in told if part.missing), ""),
    )
