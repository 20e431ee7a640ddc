"""Which linear layers of a site are given one and the same tensor, so that it counts once."""

import torch

from pytest_maxact.checkpoint.sites.anatomy import Tap


class SharedInputs:
    """What the linear layers of one decoder layer were given in this batch.

    A tensor is kept until another decoder layer runs, so that its memory is not another's meanwhile. What is stripped
    of padding is compared with its like: without padding it would be the same tensor as what is not.
    """

    def __init__(self) -> None:
        self.repeats: dict[tuple[str, str], str] = {}
        """Parts of a site that were given the tensor of another part, with that part, by site and part."""
        self._known: dict[tuple[str, bool], list[tuple[Tap, torch.Tensor]]] = {}
        self._layer: int | None = None

    def repeated(self, tap: Tap, given: torch.Tensor) -> bool:
        """Whether another linear layer of this site was just given the same tensor."""
        if tap.site.layer != self._layer:
            self._known.clear()
            self._layer = tap.site.layer
        known = self._known.setdefault((tap.site.kind, tap.in_moe), [])
        for other, tensor in known:
            if other.module is not tap.module and is_same(tensor, given):
                if other.part != tap.part:
                    self.repeats[tap.site.name, tap.part] = other.part
                return True
        known.append((tap, given))
        return False

    def forget(self) -> None:
        """Leave the batch."""
        self.repeats.clear()
        self._known.clear()


def is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are one, or views that lie alike."""
    return (
        one.data_ptr() == other.data_ptr() and one.numel() == other.numel() and one.stride()[-1:] == other.stride()[-1:]
    )
