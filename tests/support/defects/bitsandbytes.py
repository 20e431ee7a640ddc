"""Faults of exports of bitsandbytes."""

from tests.support.defects.planting import DOWN, Defect, Q, as_bytes, drop, fill, make

DEFECTS: dict[str, Defect] = {
    "bitsandbytes NF4: the state of a module is gone": Defect(
        export="bitsandbytes NF4", plant=drop(f"{Q}.weight.quant_state.bitsandbytes__nf4"), code="scale_missing",
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
        export="bitsandbytes NF4", plant=as_bytes(f"{Q}.weight.quant_state.bitsandbytes__nf4", 0), code="packing",
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
}  # fmt: skip
