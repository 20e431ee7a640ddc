"""Calls of transformers' attention interface, whatever implementation they go to: a module's queries, keys and values
as it attends with them, after norm and rotary embedding, and what decides its scores.

While it is watched every model of the process is called through here; only modules that are asked for are read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

ATTENDED = ("query", "key", "value", "first key")
"""What a tap may read of a call: a row of all heads side by side, or the first head of the keys alone."""
Watched = TypeVar("Watched")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attended:
    """One call: `query` [B, H, T, D], `key` and `value` [B, H_kv, S, D or D_v], the mask as it is given, and the
    options of the call.
    """

    module: nn.Module
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: Any
    options: Mapping[str, Any]

    def heads(self, reads: str) -> int | None:
        """How many heads lie side by side in what a tap reads; None where it is no head's alone."""
        return None if reads == "first key" else int(getattr(self, reads).shape[1])

    def states(self, reads: str) -> torch.Tensor:
        """What a tap reads, [B, T, heads x width]."""
        if reads == "first key":
            return self.key[:, 0]
        states: torch.Tensor = getattr(self, reads)
        return states.transpose(1, 2).flatten(2)


def watch_attention(
    modules: Mapping[int, Watched], see: Callable[[Watched, Attended], tuple[torch.Tensor, torch.Tensor] | None]
) -> Callable[[], None]:
    """Hand `see` every call by one of `modules`, by their id, before it is made, with the keys and values that it gives
    back, if any, in place of its own; what is returned ends that.
    """
    from transformers import AttentionInterface

    original = AttentionInterface.get_interface

    def get_interface(self: Any, implementation: str, default: Callable[..., Any]) -> Callable[..., Any]:
        attend = original(self, implementation, default)

        def seen(
            module: nn.Module,
            query: torch.Tensor,
            key: torch.Tensor,
            value: torch.Tensor,
            attention_mask: Any = None,
            *args: Any,
            **options: Any,
        ) -> Any:
            if id(module) in modules:
                call = Attended(module=module, query=query, key=key, value=value, mask=attention_mask, options=options)
                key, value = see(modules[id(module)], call) or (key, value)
            return attend(module, query, key, value, attention_mask, *args, **options)

        return seen

    AttentionInterface.get_interface = get_interface

    def restore() -> None:
        AttentionInterface.get_interface = original

    return restore
