"""What the weight files call the modules that attend: taps and a loaded model in, names by site out."""

from collections.abc import Iterable

from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.checkpoint.weights.stored import headers


def names_of_attention(taps: Iterable[Tap], loaded: LoadedModel) -> dict[str, dict[str, str]]:
    """Of every site of keys or values, the names of its modules in the files with their parts; of a live model those in
    the model. None where the files call them otherwise, as GGUF does.
    """
    held = None if loaded.files is None else _parents(stored.key for stored in headers(loaded.files))
    found: dict[str, dict[str, str]] = {}
    for tap in (tap for tap in taps if tap.site.kind in ("k", "v")):
        names = {tap.site.module} if held is None else held.get(tap.site.module, set())
        for name in names if len(names) == 1 else ():
            found.setdefault(tap.site.name, {})[name] = tap.part
    return found


def _parents(keys: Iterable[str]) -> dict[str, set[str]]:
    """Every module that holds tensors, by each end of its name: `layers.3.self_attn` of `model.layers.3.self_attn`."""
    modules = set[str]()
    for key in keys:
        parts = key.split(".")
        modules |= {".".join(parts[:end]) for end in range(1, len(parts))}
    ends: dict[str, set[str]] = {}
    for module in modules:
        parts = module.split(".")
        for start in range(len(parts)):
            ends.setdefault(".".join(parts[start:]), set()).add(module)
    return ends
