"""How wide the sites of a model are, told without its weights: a checkpoint in, the width of every part of every site
out.

What each of several ranks sees of a site that is split over them is held to it, so that no channel is missed and none
counts twice.
"""

from contextlib import suppress
from copy import deepcopy
from dataclasses import replace

import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import skeleton
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import InputError, first_line, setting
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.numbers.ways import PARALLEL
from pytest_maxact.settings.settings import Settings

Widths = dict[tuple[str, str], int]
"""By site and part."""
_META = torch.device("meta")
_TOKENS = 8


def whole_widths(checkpoint: Checkpoint, settings: Settings, sequence: corpus.Sequence) -> Widths:
    """Those of the model in one piece, which runs a few tokens on a device without memory. Raises InputError for one
    that does not run there.
    """
    built = skeleton(replace(checkpoint, config=deepcopy(checkpoint.config)))
    body = built.body.to(torch.bfloat16).eval()
    body.set_attn_implementation("eager")  # type: ignore[operator]
    anatomy = resolve(body, checkpoint.config, settings.linear_inputs, attention=settings.attention)
    if anatomy.experts:
        with suppress(ValueError):  # of an architecture that knows one way only
            body.set_experts_implementation("grouped_mm")  # type: ignore[operator]
    observer = Observer(decoder_of(body), anatomy)
    few = replace(sequence, ids=sequence.ids[:_TOKENS])
    (planned,) = corpus.plan_batches([few], {few.sample.id: "calibration"}, _TOKENS)
    observer.intake.batch = batch = collate(planned, _META)
    try:
        with torch.inference_mode(), observer.attached():
            observer.decoder(input_ids=batch.ids, attention_mask=batch.mask.long(), use_cache=False)
    except Exception as error:
        raise InputError(
            f"{setting('device')} {PARALLEL}: how wide the sites of {checkpoint.config.model_type} are cannot be told "
            f"without its weights ({first_line(error)})\n"
            f"  choose another {setting('device')}: split, offload or stream"
        ) from error
    return {(name, part): width for name, seen in observer.accumulators.items() for part, width in seen.widths.items()}
