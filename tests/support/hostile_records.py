"""Records in which others called everything that they could by one name: a Record's file in, another out."""

from pathlib import Path
from typing import Any

from tests.support.doctored import changed

_OF_OTHERS = {
    "after", "architecture", "attention", "before", "category", "corpus", "detail", "device", "file", "model",
    "model_type", "module", "part", "placement", "revision", "sample", "stored", "text", "token", "unchecked",
}  # fmt: skip
"""Fields that hold what a model, a corpus, a machine or a file is called, or a text says."""
_KEYS = {"named", "shared", "versions"}
"""Mappings whose keys are such."""


def named(source: Path, target: Path, name: str) -> Path:
    """The Record at `source` with `name` put before every name of others."""

    def rename(document: dict[str, Any]) -> None:
        samples = {sample[0] for sample in document["provenance"]["samples"]}
        document.update({key: _renamed(value, key, name, samples) for key, value in document.items()})
        provenance, weights = document["provenance"], document["weights"]
        provenance["samples"] = [[name + i, name + kind, *rest] for i, kind, *rest in provenance["samples"]]
        provenance["files"] = [[name + file, digest] for file, digest in provenance["files"]]
        provenance |= {"revision": name, "left_out": [name], "remarks": [name]}
        weights |= {"largest": name + weights["largest"], "files": [name], "misfits": {name: name}}

    return changed(source, target, rename)


def _renamed(value: Any, key: str, name: str, samples: set[str]) -> Any:
    if isinstance(value, dict):
        return {
            (name + own if own in samples or key in _KEYS else own): (
                name + inner if key in ("versions", "token_texts") else _renamed(inner, own, name, samples)
            )
            for own, inner in value.items()
        }
    if isinstance(value, list):
        return [_renamed(inner, key, name, samples) for inner in value]
    if key in ("before", "after"):
        return (name + str(value))[:40]
    return name + value if isinstance(value, str) and value and key in _OF_OTHERS else value
