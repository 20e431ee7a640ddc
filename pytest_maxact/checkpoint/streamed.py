"""A model of which one layer at a time is in memory: a located checkpoint in, a model out whose layers have no weights
until they are called for.

transformers itself loads it, and is given in the place of a layer's tensors ones without contents; so every name,
conversion, tie and dtype is that of an ordinary loading, and so is whatever is found wrong. A parameter that belongs to
more than one layer, or to a layer and the rest, stays in memory with the rest.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils import swap_tensors
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import convert_and_load_state_dict_in_model
from transformers.modeling_utils import LoadStateDictConfig

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.load import LoadedModel, load, skeleton
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.placement.placement import Placement
from pytest_maxact.checkpoint.quiet import quiet
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.checkpoint.weights.presence import same_tensors
from pytest_maxact.checkpoint.weights.reading import DTYPES, Reading
from pytest_maxact.checkpoint.weights.stored import headers, placed_in
from pytest_maxact.errors import MeasureError, first_line
from pytest_maxact.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is read when: of every layer, by its path in the whole model, the tensors of the files, as they are named
    there, and the parameters that they go to. All else is read at the beginning.
    """

    layers: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]

    @property
    def late(self) -> frozenset[str]:
        """Tensors that belong to layers."""
        return frozenset(key for keys, _ in self.layers.values() for key in keys)


@dataclass(slots=True, kw_only=True, eq=False)
class Layer:
    """A layer of a loaded model, and what it is made of."""

    module: nn.Module
    keys: tuple[str, ...]
    names: tuple[str, ...]
    apart: list[nn.Parameter] = field(default_factory=list)
    """While it has weights, the parameters without contents whose place they took."""


def plan_of(checkpoint: Checkpoint, files: WeightFiles, linear_inputs: bool) -> Plan:
    """Which tensors belong to one layer alone. Raises InputError."""
    built = skeleton(checkpoint)
    anatomy = resolve(built.body, checkpoint.config, linear_inputs)
    paths = {id(module): path for path, module in built.whole.named_modules()}
    layers = dict.fromkeys(paths[id(tap.module)] for tap in anatomy.taps if tap.site.kind == "hidden")
    outer = [path for path in layers if not any(path.startswith(f"{other}.") for other in layers)]
    owner = {name: path for path in outer for name in _parameters(built.whole, path)}
    for name, others in same_tensors(built.whole).items():
        if len({owner.get(other) for other in others}) > 1:
            owner.pop(name, None)
    tensors = {part.key: part for parts in placed_in(headers(files), built.whole).values() for part in parts}
    while mixed := [
        name
        for part in tensors.values()
        if len({owner.get(target) for target in part.targets}) > 1
        for name in part.targets
        if name in owner
    ]:
        for name in mixed:
            owner.pop(name, None)
    found: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for path in outer:
        keys = tuple(part.key for part in tensors.values() if owner.get(part.targets[0]) == path)
        names = tuple(dict.fromkeys(target for key in keys for target in tensors[key].targets))
        if keys:
            found[path] = (keys, names)
    return Plan(layers=found)


def _parameters(whole: nn.Module, path: str) -> list[str]:
    return [f"{path}.{name}" for name, _ in whole.get_submodule(path).named_parameters(remove_duplicate=False)]


class Streamed:
    """A loaded model whose layers get their weights from a reading, one at a time, and lose them again."""

    def __init__(
        self, checkpoint: Checkpoint, settings: Settings, plan: Plan, reading: Reading,
        placement: Placement | None = None,
    ) -> None:  # fmt: skip
        self._reading = reading
        late = plan.late
        held = {
            key: _Held(header, None if key in late else reading, key in late)
            for key, (_, header) in reading.headers.items()
        }
        self.loaded: LoadedModel = load(checkpoint, settings, placement, held)
        self._whole: Any = self.loaded.whole
        whole: Any = self._whole
        self.layers = [
            Layer(module=whole.get_submodule(path), keys=keys, names=names)
            for path, (keys, names) in plan.layers.items()
        ]

    def read(self, layer: Layer) -> dict[str, torch.Tensor]:
        """The tensors of a layer, as the files have them."""
        places = self._reading.headers
        ordered = sorted(layer.keys, key=lambda key: (str(places[key][0]), places[key][1].start))
        return {key: self._reading.tensor(key) for key in ordered}

    @contextmanager
    def present(self, layer: Layer, tensors: dict[str, torch.Tensor]) -> Iterator[None]:
        """The layer with its weights for the duration of the context. Raises MeasureError."""
        self._fill(layer, tensors)
        try:
            yield
        finally:
            for name, empty in zip(layer.names, layer.apart, strict=True):
                _swap(self._whole.get_parameter(name), empty)
            layer.apart = []

    def _fill(self, layer: Layer, tensors: dict[str, torch.Tensor]) -> None:
        before = {name: self._whole.get_parameter(name) for name in layer.names}
        conversions = getattr(self._whole, "_weight_conversions", None)
        config = LoadStateDictConfig(
            dtype=None, device_map={"": self.loaded.device}, weight_mapping=get_model_conversion_mapping(self._whole)
        )
        try:
            with quiet():
                convert_and_load_state_dict_in_model(model=self._whole, state_dict=tensors, load_config=config)
        except Exception as error:
            raise MeasureError(f"cannot load the weights of {layer.names[0]}: {first_line(error)}") from error
        tensors.clear()
        self._whole._weight_conversions = conversions
        for name, empty in before.items():
            path, _, own = name.rpartition(".")
            module = self._whole.get_submodule(path)
            filled = module._parameters[own]
            if filled is empty or filled.is_meta or filled.dtype != empty.dtype:
                raise MeasureError(f"{name} was not loaded\n  please report the model_type")
            _swap(empty, filled)
            module._parameters[own] = empty
            layer.apart.append(filled)


def _swap(one: nn.Parameter, other: nn.Parameter) -> None:
    """Contents change places; whoever holds a parameter holds it still."""
    swap_tensors(one, other)  # type: ignore[no-untyped-call]


class _Held:
    """What transformers takes for a tensor of a file: read when it asks for it, or, of a layer's, without contents."""

    def __init__(self, header: Header, reading: Reading | None, empty: bool) -> None:
        self._header, self._reading, self._empty = header, reading, empty

    def __getitem__(self, place: Any) -> "_Held":
        return self

    def get_shape(self) -> list[int]:
        return list(self._header.shape)

    def get_dtype(self) -> str:
        return self._header.dtype

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        own = DTYPES[self._header.dtype]
        if self._reading is None:
            return torch.empty(self._header.shape, dtype=dtype or own, device="meta")
        return self._reading.tensor(self._header.key).to(device=device, dtype=dtype)
