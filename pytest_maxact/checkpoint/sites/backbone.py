"""What every part of resolution asks about: a decoder, its configuration, its exceptions and where its modules lie."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from pytest_maxact.checkpoint.sites.modules import at, class_of, unknown
from pytest_maxact.checkpoint.sites.table import Exceptions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backbone:
    """A language backbone: `config` is its own, the text part of a composite one; `paths` are its modules' paths in the
    whole model.
    """

    decoder: nn.Module
    config: Any
    exceptions: Exceptions
    paths: dict[int, str]

    def path(self, module: nn.Module) -> str:
        return self.paths[id(module)]

    def named(self, module: nn.Module) -> str:
        """A module for an error message: `layers.3.mlp (LlamaMLP)`."""
        return f"{self.path(module)} ({class_of(module)})"

    def declares(self, key: str, module: nn.Module) -> bool:
        """Whether transformers names the module's class under `key` in the decoder's `_can_record_outputs`, for modules
        at such a path.
        """
        declared = (getattr(self.decoder, "_can_record_outputs", None) or {}).get(key)
        entries = [] if declared is None else declared if isinstance(declared, list) else [declared]
        return any(_means(entry, module, self.path(module)) for entry in entries)


def stated_at(
    backbone: Backbone, layer: nn.Module, index: int, stated: str
) -> tuple[str, nn.Module, nn.Parameter | None]:
    """What the table of exceptions states as `path` or `path:parameter`: the path, its module and the parameter. Raises
    InputError that names what is not there.
    """
    path, _, parameter = stated.partition(":")
    root, path = (backbone.decoder, path.format(i=index)) if "{i}" in path else (layer, path)
    module = at(root, path)
    if not parameter:
        return path, module, None
    try:
        return path, module, module.get_parameter(parameter)
    except AttributeError:
        raise unknown(
            f"{class_of(module)}: no parameter {parameter!r}, where the table of exceptions has one"
        ) from None


def _means(entry: Any, module: nn.Module, path: str) -> bool:
    target = getattr(entry, "target_class", entry)
    name = getattr(entry, "class_name", None)
    where = getattr(entry, "layer_name", None)
    if where and where not in f".{path}.":
        return False
    if isinstance(target, type):
        return isinstance(module, target)
    return class_of(module) in (target, name)
