"""Up to which length rotary tables stay as they are, by what modules and configs state of them."""

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from pytest_maxact.measure.observe.rotary import steady_up_to


class Stated(nn.Module):
    """A module that came with weights: its config is all that is known."""

    def __init__(self, **stated: Any) -> None:
        super().__init__()
        self.config = SimpleNamespace(**stated)


@pytest.mark.parametrize(("stated", "limit"), [
    ({"rope_scaling": {"type": "su"}, "original_max_position_embeddings": 4096}, 4096),
    ({"rope_scaling": {"type": "longrope", "original_max_position_embeddings": 2048}}, 2048),
    ({"rope_scaling": {"type": "dynamic", "factor": 2.0}, "max_position_embeddings": 1024}, 1024),
    ({"rope_scaling": {"rope_type": "something-new"}}, 0), ({"rope_scaling": {"full": {"type": "own"}}}, 0),
    ({"use_dynamic_ntk": True, "seq_length": 2048}, 2048), ({"rope_scaling": {"type": "yarn"}}, None),
    ({"use_dynamic_ntk": True, "seq_length": 0, "max_position_embeddings": 512}, 512),
    ({"rope_scaling": {"mrope_section": [2, 3, 3], "type": "mrope"}}, None), ({"rope_scaling": None}, None),
])  # fmt: skip
def test_what_a_config_states_counts_whatever_reads_it(stated: dict[str, Any], limit: int | None) -> None:
    assert steady_up_to(Stated(**stated)) == limit


class Rotary(nn.Module):
    """Built like a rotary embedding of transformers."""

    def __init__(self, rope_type: Any, original_max_seq_len: int | None = None, **stated: Any) -> None:
        super().__init__()
        self.rope_type, self.original_max_seq_len = rope_type, original_max_seq_len
        self.inner = nn.Module()
        self.inner.config = SimpleNamespace(**stated)  # type: ignore[assignment]
        self.config = self.inner.config


LONG = {"original_max_position_embeddings": 128}


@pytest.mark.parametrize(
    ("rotary", "limit"),
    [
        (Rotary("default"), None),
        (Rotary("yarn", rope_parameters=LONG), None),
        (Rotary("longrope", rope_parameters=LONG), 128),
        (Rotary("longrope", rope_parameters=None, original_max_position_embeddings=64), 64),
        (Rotary("longrope", rope_parameters=LONG, original_max_position_embeddings=64), 128),
        (Rotary("longrope"), 0),
        (Rotary("dynamic", 32, max_position_embeddings=16), 32),
        (Rotary("dynamic", max_position_embeddings=16), 16),
        (Rotary("dynamic", 0, max_position_embeddings=16.0), 16),
        (Rotary("dynamic"), 0),
        (Rotary({"full": "default", "sliding": "yarn"}), None),
        (Rotary({"full": "longrope", "sliding": "default"}, rope_parameters={"full": LONG}), 128),
        (Rotary({"full": "longrope", "sliding": "default"}, rope_parameters={"sliding": LONG}), 0),
        (Rotary(None, rope_parameters=LONG), None),
    ],
)
def test_what_a_module_is_built_for_counts(rotary: nn.Module, limit: int | None) -> None:
    model = nn.Module()
    model.rotary = rotary
    assert steady_up_to(model) == limit


def test_of_several_tables_the_first_that_varies_counts() -> None:
    model = nn.Sequential(Rotary("dynamic", 32), Rotary("longrope", rope_parameters=LONG), Rotary("default"))
    assert steady_up_to(model) == 32
    model.config = SimpleNamespace(  # type: ignore[assignment]
        get_text_config=lambda: SimpleNamespace(rope_scaling={"type": "dynamic"}, max_position_embeddings=8)
    )
    assert steady_up_to(model) == 8


@pytest.mark.parametrize(
    ("stated", "limit"),
    [
        ({"rope_parameters": {"rope_type": "default"}}, None),
        ({"rope_parameters": {"rope_type": "longrope", "original_max_seq_len": 96}}, 96),
        ({"rotary": {"type": "own", "original_max_position_embedding": 48}}, 48),
        ({"rope_scaling": {"type": 3}}, None),
        ({"rope_scaling": "longrope"}, None),
        ({"use_dynamic_ntk": True}, 0),
        ({"use_dynamic_ntk": False, "seq_length": 2048}, None),
    ],
)
def test_every_place_of_a_config_is_looked_at(stated: dict[str, Any], limit: int | None) -> None:
    assert steady_up_to(Stated(**stated)) == limit
