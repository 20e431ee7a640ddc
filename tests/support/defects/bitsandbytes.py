"""Faults of exports of bitsandbytes."""

import json
from typing import Any

import torch

from tests.support.defects.planting import DOWN, Defect, Plant, Q, Tensors, as_bytes, drop, fill, make, whole
from tests.support.exports.bitsandbytes import TABLES

_STATE = f"{Q}.weight.quant_state.bitsandbytes__nf4"


def in_state(**entries: Any) -> Plant:
    """Entries of a module's state; None takes one out."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        told = {**json.loads(bytes(tensors[_STATE].tolist())), **entries}
        kept = {name: value for name, value in told.items() if value is not None}
        tensors[_STATE] = torch.tensor(list(json.dumps(kept).encode()), dtype=torch.uint8)

    return plant


DEFECTS: dict[str, Defect] = {
    "bitsandbytes NF4: the state of a module is gone": Defect(
        export="bitsandbytes NF4", plant=drop(_STATE), code="scale_missing",
        tensor=f"{Q}.weight", report="https://github.com/unslothai/unsloth/issues/10276",
    ),
    "bitsandbytes NF4: maxima of blocks are gone": Defect(
        export="bitsandbytes NF4", plant=drop(f"{Q}.weight.absmax"), code="scale_missing", tensor=f"{Q}.weight",
    ),
    "bitsandbytes NF4: maxima of maxima are gone": Defect(
        export="bitsandbytes NF4", plant=drop(f"{DOWN}.weight.nested_absmax"), code="scale_missing",
        tensor=f"{DOWN}.weight.absmax",
    ),
    "bitsandbytes NF4: a maximum that is NaN": Defect(
        export="bitsandbytes NF4", plant=fill(f"{Q}.weight.nested_absmax", float("nan")), code="scale_nonfinite",
        tensor=f"{Q}.weight.nested_absmax",
    ),
    "bitsandbytes NF4: fewer codes than its state says": Defect(
        export="bitsandbytes NF4", plant=make(f"{Q}.weight", lambda codes: codes[:-64]), code="packing",
        tensor=f"{Q}.weight",
    ),
    "bitsandbytes NF4: a state that is none": Defect(
        export="bitsandbytes NF4", plant=as_bytes(_STATE, 0), code="packing",
        tensor=f"{Q}.weight.quant_state",
    ),
    "bitsandbytes NF4: a table of other levels": Defect(
        export="bitsandbytes NF4", plant=make(f"{Q}.weight.quant_map", lambda table: table[:-1]), code="scale_shape",
        tensor=f"{Q}.weight.quant_map",
    ),
    "bitsandbytes int8: the maxima of rows are gone": Defect(
        export="bitsandbytes 8 bits", plant=drop(f"{Q}.SCB"), code="scale_missing", tensor=f"{Q}.weight",
    ),
    "bitsandbytes int8: a maximum that is negative": Defect(
        export="bitsandbytes 8 bits", plant=fill(f"{Q}.SCB", -1.0), code="scale_negative", tensor=f"{Q}.SCB",
    ),
    **{
        f"bitsandbytes NF4: {what}": Defect(
            export="bitsandbytes NF4", plant=in_state(**change), code="packing",
            tensor=_STATE,
        )
        for what, change in {
            "a block of no entries": {"blocksize": 0},
            "a block that is no number": {"blocksize": "64"},
            "a negative side": {"shape": [-128, -256]},
            "a state without a block": {"blocksize": None},
            "a state without a shape": {"shape": None},
            "a state without the block of maxima": {"nested_blocksize": None},
            "a state without the offset of maxima": {"nested_offset": None},
            "an offset that is NaN": {"nested_offset": float("nan")},
            "a table of another name": {"quant_type": "fp4"},
            "a table that nobody knows": {"quant_type": "af4"},
            "a weight of a dtype that is none": {"dtype": "float8"},
        }.items()
    },
    "bitsandbytes NF4: another block than its maxima are of": Defect(
        export="bitsandbytes NF4", plant=in_state(blocksize=128), code="scale_shape", tensor=f"{Q}.weight.absmax",
    ),
    "bitsandbytes NF4: another block of maxima than those above are of": Defect(
        export="bitsandbytes NF4", plant=in_state(nested_blocksize=64), code="scale_shape",
        tensor=f"{Q}.weight.nested_absmax",
    ),
    "bitsandbytes NF4: nested maxima of which its state tells nothing": Defect(
        export="bitsandbytes NF4", plant=in_state(nested_blocksize=None, nested_offset=None, nested_dtype=None),
        code="scale_dtype", tensor=f"{Q}.weight.absmax",
    ),
    "bitsandbytes NF4: maxima in floats of which its state tells that they are nested": Defect(
        export="bitsandbytes NF4", plant=make(f"{Q}.weight.absmax", torch.Tensor.float), code="scale_dtype",
        tensor=f"{Q}.weight.absmax",
    ),
    "bitsandbytes NF4: the table of maxima is gone": Defect(
        export="bitsandbytes NF4", plant=drop(f"{Q}.weight.nested_quant_map"), code="scale_missing",
        tensor=f"{Q}.weight.absmax",
    ),
    "bitsandbytes NF4: the table of levels is gone": Defect(
        export="bitsandbytes NF4", plant=drop(f"{Q}.weight.quant_map"), code="scale_missing", tensor=f"{Q}.weight",
    ),
    "bitsandbytes NF4: the levels of FP4": Defect(
        export="bitsandbytes NF4", plant=make(f"{Q}.weight.quant_map", lambda table: TABLES["fp4"]), code="packing",
        tensor=f"{Q}.weight.quant_map",
    ),
    "bitsandbytes NF4: two states": Defect(
        export="bitsandbytes NF4", code="duplicate", tensor=f"{Q}.weight.quant_state",
        plant=make(_STATE, torch.clone, _STATE.replace("nf4", "fp4")),
    ),
    "bitsandbytes int8: a maximum of zero": Defect(
        export="bitsandbytes 8 bits", plant=fill(f"{Q}.SCB", 0.0), code="scale_zero", tensor=f"{Q}.SCB",
    ),
    "bitsandbytes int8: maxima of fewer rows": Defect(
        export="bitsandbytes 8 bits", plant=make(f"{Q}.SCB", lambda maxima: maxima[:-1]), code="scale_shape",
        tensor=f"{Q}.SCB",
    ),
    "bitsandbytes int8: maxima in whole numbers": Defect(
        export="bitsandbytes 8 bits", plant=make(f"{Q}.SCB", lambda maxima: (maxima * 100).int()), code="scale_dtype",
        tensor=f"{Q}.SCB",
    ),
    "bitsandbytes int8: codes in the order of a kernel": Defect(
        export="bitsandbytes 8 bits", plant=whole(f"{Q}.weight_format", 2), code="packing", tensor=f"{Q}.weight_format",
    ),
}  # fmt: skip
