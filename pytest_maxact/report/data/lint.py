"""What a look at a checkpoint's tensors found, for a program."""

from typing import Any

from pytest_maxact.numbers.lint import LINTS, Lint, LintFault


def lint_data(found: Lint) -> dict[str, Any]:
    """`{"form", "tensors", "modules", "red", "remarks", "counts": {kind: n}, "findings": [{...}]}`."""
    return {
        "form": found.form,
        "tensors": found.tensors,
        "modules": found.modules,
        "red": found.red,
        "remarks": sum(found.counts.values()) - found.red,
        "counts": {code: found.counts[code] for code in LINTS if code in found.counts},
        "findings": [_finding(fault) for fault in found.faults],
    }


def _finding(fault: LintFault) -> dict[str, Any]:
    kind = fault.kind
    return {
        "kind": fault.code,
        "metric": kind.metric,
        "remark": kind.remark,
        "tensor": fault.tensor,
        "layer": fault.layer,
        "expert": fault.expert,
        "what": fault.what,
        "runtime": kind.runtime,
        "mend": kind.mend,
        "source": kind.source,
    }
