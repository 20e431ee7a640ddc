"""Every causal-LM architecture of the installed transformers, built from its default config on the meta device: what
resolution finds in it, or its error.
"""

import warnings
from dataclasses import dataclass, field

import torch
import transformers
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.initialization import no_init_weights
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One architecture: `anatomy`, or `error`; neither where the default config does not build."""

    model_type: str
    model: nn.Module | None = field(default=None, repr=False)
    anatomy: Anatomy | None = field(default=None, repr=False)
    error: str = ""


def _outcome_of(model_type: str) -> Outcome:
    try:
        config = CONFIG_MAPPING[model_type]()
        with torch.device("meta"), no_init_weights():
            model = AutoModelForCausalLM.from_config(config)
    except Exception as error:
        return Outcome(model_type=model_type, error=f"{type(error).__name__}: {error}".split("\n")[0])
    try:
        return Outcome(model_type=model_type, model=model, anatomy=resolve(model, config))
    except InputError as error:
        return Outcome(model_type=model_type, model=model, error=str(error).split("\n")[0])


def survey() -> dict[str, Outcome]:
    """Outcomes by `model_type`, in alphabetical order."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: _outcome_of(name) for name in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)}
    transformers.logging.set_verbosity(verbosity)
    return found
