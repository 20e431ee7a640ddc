"""Adapters that PEFT put around modules of a model, in place: sites are found on the modules as they are without them,
and read from what adapters make of those. PEFT is not imported: its wrappers are known by where their classes come
from, and by what they call the module inside.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.checkpoint.sites.modules import class_of
from pytest_maxact.errors import InputError

_INSIDE = ("base_layer", "original_module")
"""What wrappers of PEFT call the module inside: one that is adapted, one of which another copy is trained."""
_OUTSIDE = ("output", "input")
"""Ways of reading a site that see a wrapper as well as what is inside."""


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[dict[nn.Module, nn.Module]]:
    """The model without the wrappers in it, which are given by the module inside; back in their places afterwards.

    Raises InputError for a module of PEFT that is no such wrapper: what it does to the model is not known.
    """
    places = list(_wrappers(model, ""))
    found: dict[nn.Module, nn.Module] = {}
    try:
        for parent, name, wrapper in places:
            parent._modules[name] = inside = _inside(wrapper)
            found[inside] = wrapper
        yield found
    finally:
        for parent, name, wrapper in places:
            parent._modules[name] = wrapper


def with_adapters(anatomy: Anatomy, wrappers: Mapping[nn.Module, nn.Module]) -> Anatomy:
    """The sites as the wrapped model has them. Raises InputError where an adapter lies around what is read from within:
    routers, fused experts, blocks of which another copy runs.
    """
    below = {module for inside in wrappers for module in inside.modules() if module is not inside}
    matrices = {id(parameter) for inside in wrappers for parameter in inside.parameters()}
    for module in (*anatomy.stripped, *(experts.module for experts in anatomy.experts)):
        if module in wrappers or module in below:
            raise _unreadable(class_of(module))
    for tap in anatomy.taps:
        within = tap.module in wrappers and tap.reads not in _OUTSIDE
        if within or tap.module in below or (tap.parameter is not None and id(tap.parameter) in matrices):
            raise _unreadable(tap.site.module)
    return replace(
        anatomy, taps=tuple(replace(tap, module=wrappers.get(tap.module, tap.module)) for tap in anatomy.taps)
    )


def _unreadable(what: str) -> InputError:
    return InputError(
        f"an adapter lies around {what}, which is read from within\n"
        "  merge the adapter, and measure the merged model; or leave this module out of it"
    )


def _wrappers(parent: nn.Module, path: str) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every outermost wrapper below a module, with the module that holds it and its name there."""
    for name, child in parent.named_children():
        if not _is_of_peft(child):
            yield from _wrappers(child, f"{path}{name}.")
        elif any(hasattr(child, inside) for inside in _INSIDE):
            yield parent, name, child
        else:
            raise InputError(
                f"{path}{name}: {class_of(child)} of PEFT is not known here\n"
                "  merge the adapter, and measure the merged model"
            )


def _is_of_peft(module: nn.Module) -> bool:
    return any(base.__module__.split(".")[0] == "peft" for base in type(module).__mro__)


def _inside(wrapper: nn.Module) -> nn.Module:
    """The module inside, however many wrappers lie around it."""
    while _is_of_peft(wrapper):
        wrapper = next(getattr(wrapper, inside) for inside in _INSIDE if hasattr(wrapper, inside))
    return wrapper
