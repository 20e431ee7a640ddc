"""A path in, what a look at its tensors finds out: no model is built, and no weights are loaded.

Headers tell most of it; scales, zero points and indices are read, packed weights only where their codes could be none.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.formats.gguf_parts import whole_ones
from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.lint.artifact import Artifact, artifact, artifact_of, fault
from pytest_maxact.checkpoint.lint.bitsandbytes import four_bit_faults, order_faults
from pytest_maxact.checkpoint.lint.cache import cache_faults
from pytest_maxact.checkpoint.lint.codes import (
    code_faults,
    has_codes,
    index_faults,
    packing_faults,
    zero_point_faults,
)
from pytest_maxact.checkpoint.lint.copied import copied_faults
from pytest_maxact.checkpoint.lint.forms import form_of, matrix_of, parts_of
from pytest_maxact.checkpoint.lint.fused import fused_faults
from pytest_maxact.checkpoint.lint.hollow import hollow_faults
from pytest_maxact.checkpoint.lint.methods import stated_in
from pytest_maxact.checkpoint.lint.names import Module, modules_of
from pytest_maxact.checkpoint.lint.plausible import (
    Centre,
    centre_faults,
    centre_of,
    scale_value_faults,
)
from pytest_maxact.checkpoint.lint.readable import refusals
from pytest_maxact.checkpoint.lint.selection import selection_faults
from pytest_maxact.checkpoint.lint.stated import Spec, Stated
from pytest_maxact.checkpoint.lint.tensors import part_faults, scale_faults, weight_of
from pytest_maxact.checkpoint.lint.values import FLOAT_DTYPES, Values
from pytest_maxact.checkpoint.lint.whole import far_faults, head_faults
from pytest_maxact.errors import InputError, marked
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import Lint, LintFault, lint_of

READ_AT_MOST = 16 << 30
"""How many bytes of codes a look reads; more are read where that is asked for."""
_BARE = Spec(forms=(), bits=0)


def lint(path: Path, *, codes: int | None = READ_AT_MOST) -> Lint:
    """Everything that is found of a folder, a `*.safetensors` or a `*.gguf` file. `codes`: how many bytes of weights
    are read for codes that are none, None for all. Raises InputError where there is no checkpoint.
    """
    if _gguf_of(path):
        from pytest_maxact.checkpoint.lint.gguf import lint_gguf

        return lint_gguf(_gguf_of(path) or path, codes)
    return lint_artifact(artifact(path), codes=codes)


def lint_loaded(files: WeightFiles) -> Lint:
    """Of the files that a measurement loads, codes left out, which are read there anyway."""
    if files.is_gguf:
        return lint(files.loaded[0], codes=0)
    return lint_artifact(artifact_of(files), codes=0)


def with_lint(error: InputError, folder: Path) -> InputError:
    """Why a quantized checkpoint is refused, with what a look at it finds."""
    try:
        found = lint(folder, codes=0)
    except Exception:  # what is refused is told, whatever a look at it meets
        return error
    told = [fault for fault in found.faults if not fault.kind.remark and fault.code != "method"]
    first = next(iter(told), None)
    text = marked(error)
    if first is None or text.count("\n") > 1:
        return error
    where = f" ({first.where})" if first.where else ""
    return InputError(
        f"{text}\n  `maxact lint` finds {counted(found.red, 'fault')}, the first: {first.tensor}{where}: {first.what}"
    )


def _gguf_of(path: Path) -> Path | None:
    """The GGUF file that is meant: the one named, or the only one of a folder without other weights."""
    if path.is_file() and path.suffix.lower() == ".gguf":
        return path
    if path.is_dir() and not any(path.glob("*.safetensors")):
        found = whole_ones([file.name for file in path.glob("*.gguf")])
        return path / found[0] if len(found) == 1 else None
    return None


def lint_artifact(found: Artifact, *, codes: int | None = READ_AT_MOST) -> Lint:
    """The same of what was read of a folder already."""
    stated, values = stated_in(found), found.values()
    modules, cache = modules_of(found.headers.values())
    forms = _forms(modules, stated)
    layers = found.text_config.get("num_hidden_layers")
    faults: list[LintFault] = []
    if stated is None or stated.known or not any(forms.values()):
        faults += selection_faults(modules, forms, stated, layers if isinstance(layers, int) else 0)
    faults += _of_modules(modules, forms, stated, values, codes)
    faults += fused_faults(modules, forms, values)
    faults += copied_faults(modules, forms, values)
    faults += cache_faults(cache, modules, stated, values, found.text_config)
    faults += head_faults(found)
    low = [form for form in forms.values() if form]
    if found.alone:
        faults = [one for one in faults if _is_of_shard(one, found)]
    faults = [*found.faults, *_of_method(stated), *_of_status(stated, low), *faults]
    if all(one.kind.remark for one in faults):
        faults += refusals(found)
    form = stated.method if stated else f"no quantization stated, {', '.join(sorted(set(low)))}" if low else "16 bits"
    return lint_of(form, len(found.headers), len(low), faults)


def _of_method(stated: Stated | None) -> Iterator[LintFault]:
    """What is stated and cannot be read, or of which nothing is known here."""
    if stated is None or stated.known:
        return
    if stated.unreadable:
        yield fault("format", stated.where, f"it cannot be read: {stated.unreadable}")
    else:
        yield fault("method", stated.where, f"it says {stated.method}: its tensors were not held against anything")


def _of_status(stated: Stated | None, low: Sequence[str]) -> Iterator[LintFault]:
    if low and stated is not None and stated.status not in (None, "compressed"):
        said = f"quantization_status is {stated.status}" if stated.status else "it has no quantization_status"
        yield fault("status", stated.where, f"{said}, and {counted(len(low), 'module')} of the files are compressed")


_OF_ABSENCE = (
    "scale_missing", "input_scale_missing", "zero_point", "group_index", "packing", "scale_orphan", "unquantized",
    "fused", "kv_scale", "format", "head",
)  # fmt: skip
"""Findings that what is not there may bring about."""
_WEIGHTS = ("weight_packed", "qweight", "blocks", "weight", "compressed")


def _is_of_shard(one: LintFault, found: Artifact) -> bool:
    """Whether a finding of modules is of the shard that was named, and not of what may lie in one that is not there.
    One without a place, of the whole set, is told of each.
    """
    place = found.places.get(one.tensor)
    absent = place is None or one.tensor.rpartition(".")[2] in _WEIGHTS or one.code == "scale_orphan"
    if found.partly and one.code in _OF_ABSENCE and absent:
        return False
    return place is None or place.name == found.alone


def _forms(modules: Mapping[str, Module], stated: Stated | None) -> dict[str, str]:
    """The form of every module that has a matrix."""
    found = {}
    for name, module in modules.items():
        weight = weight_of(module)
        named = set(module.parts) & {"weight", "weight_packed", "qweight", "blocks", "compressed"}
        if named and len(weight.shape) >= 2:
            own = stated.spec(name) if stated else None
            form = form_of(module, own.forms if own else ())
            found[name] = "other" if form and stated and not stated.known else form
    return found


def _of_modules(
    modules: Mapping[str, Module], forms: Mapping[str, str], stated: Stated | None, values: Values, codes: int | None
) -> Iterator[LintFault]:
    largest: dict[str, tuple[Module, Header, float]] = {}
    centres: list[Centre | None] = []
    unread, left = 0, codes
    for name, form in forms.items():
        module = modules[name]
        if not form:
            continue
        own = (stated.spec(name) if stated else None) or _BARE
        if form in ("other", "sparse"):
            yield from _of_unknown(module, values)
            continue
        if form == "bnb4":
            yield from four_bit_faults(module, values)
            continue
        yield from _of_module(module, form, own, values, largest)
        yield from scale_value_faults(module, form, own, values)
        yield from hollow_faults(module, form, own, values)
        centres.append(centre_of(module, form, own, values))
        if form == "bnb8":
            yield from order_faults(module, values)
        if has_codes(module, form, own):
            weight = weight_of(module)
            size = weight.stop - weight.start
            if left is None or size <= left:
                left = None if left is None else left - size
                yield from code_faults(module, form, own, values)
            else:
                unread += 1
    yield from far_faults(largest)
    yield from centre_faults([one for one in centres if one])
    if unread and codes:
        yield fault("unread", "codes", f"those of {counted(unread, 'tensor')} in FP8, beyond {codes >> 30} GiB")


def _of_module(
    module: Module, form: str, own: Spec, values: Values, largest: dict[str, tuple[Module, Header, float]]
) -> Iterator[LintFault]:
    matrix = matrix_of(module, form, own.bits or 4)
    if matrix is None:
        yield fault(
            "packing", weight_of(module).key, f"it has {len(weight_of(module).shape)} dimensions, and is no matrix"
        )
        return
    for part in parts_of(form, matrix, own, module.parts):
        yield from part_faults(module, part, matrix, form, values, signed=own.signed)
        header = module.parts.get(part.name)
        if header is not None and part.scales and header.dtype in FLOAT_DTYPES and part.name != "input_scale":
            largest[header.key] = (module, header, values.flaws(header).largest)
    if not own.forms:
        return
    yield from packing_faults(module, form, matrix, own, values)
    yield from zero_point_faults(module, form, matrix, own, values)
    yield from index_faults(module, form, matrix, own, values)


def _of_unknown(module: Module, values: Values) -> Iterator[LintFault]:
    """Of a form that is not known here, scales that are not finite alone: others may be negative by design."""
    for part, header in module.parts.items():
        if "scale" in part and header.dtype in FLOAT_DTYPES:
            for found in scale_faults(header, values):
                if found.code == "scale_nonfinite":
                    yield found
