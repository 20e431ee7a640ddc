"""The head of a language model, by its config: a located checkpoint in, the class that builds it with its head out.

Guard: predictions are told only where the class with the head is built around the very body that is observed.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.sites.table import HEADED


def head_classes(checkpoint: Checkpoint) -> list[Any]:
    """The auto classes that build the model with its language-model head, the likeliest first; none where a token sees
    those after it, or there is no such head.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM

    config = checkpoint.config
    if checkpoint.trust_remote_code and "AutoModelForCausalLM" in _remote(config):
        return [AutoModelForCausalLM]
    if is_encoder(checkpoint) or getattr(config, "is_encoder_decoder", False):
        return []
    headed = (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM)
    return [auto for auto in headed if type(config) in auto._model_mapping]


def headed_class(checkpoint: Checkpoint) -> Any:
    """The first of `head_classes`, None for none."""
    return next(iter(head_classes(checkpoint)), None)


def is_encoder(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint's tokens see those after them, by its config: it has no next-token distribution by
    design.
    """
    from transformers import AutoModelForMaskedLM

    return type(checkpoint.config) in AutoModelForMaskedLM._model_mapping and not getattr(
        checkpoint.config, "is_decoder", False
    )


def has_head(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint has a next-token distribution, by its config; loads no weights."""
    return bool(head_classes(checkpoint))


def is_headless(checkpoint: Checkpoint) -> bool:
    """Whether the config says that the checkpoint was saved without its head: it names the class of the body."""
    named = getattr(checkpoint.config, "architectures", None) or ()
    return bool(named) and set(named) <= _bodies(checkpoint)


def body_of(headed: Any, checkpoint: Checkpoint) -> nn.Module | None:
    """The model without its head, as `AutoModel` would load it; None where the head is around another."""
    config = checkpoint.config
    if config.model_type in HEADED or (
        checkpoint.trust_remote_code and "AutoModel" not in (_remote(config) or ["AutoModel"])
    ):
        return headed  # type: ignore[no-any-return]
    body: nn.Module = headed.base_model
    return body if body is not headed and type(body).__name__ in _bodies(checkpoint) else None


def no_head_of(model: nn.Module, checkpoint: Checkpoint) -> str:
    """Why a model that was built elsewhere is none of those that `head_classes` build; empty where it is one."""
    classes = head_classes(checkpoint)
    if not classes:
        return "transformers has no next-token head for this architecture"
    named = {name for auto in classes for name in _built_by(auto, checkpoint)}
    if not named & {kind.__name__ for kind in type(model).__mro__}:
        return f"{type(model).__name__} has no next-token head"
    return "" if body_of(model, checkpoint) is not None else f"{type(model).__name__} is built around another body"


def lacking_head(headed: Any, info: Mapping[str, Any]) -> str:
    """The first tensor of its head that the files of a loaded model did not have; empty where they had all."""
    return next((key for key in info["missing_keys"] if not key.startswith(f"{headed.base_model_prefix}.")), "")


def _bodies(checkpoint: Checkpoint) -> set[str]:
    """The names of the class that `AutoModel` builds from the config."""
    from transformers import AutoModel

    return _built_by(AutoModel, checkpoint)


def _built_by(auto: Any, checkpoint: Checkpoint) -> set[str]:
    if named := _remote(checkpoint.config).get(auto.__name__):
        return {str(named).rsplit(".", 1)[-1]}
    found = auto._model_mapping.get(type(checkpoint.config), ())
    return {one.__name__ for one in (found if isinstance(found, (tuple, list)) else (found,))}


def _remote(config: Any) -> Mapping[str, Any]:
    """Which classes of the code with the weights the config names; empty for none."""
    return getattr(config, "auto_map", None) or {}
