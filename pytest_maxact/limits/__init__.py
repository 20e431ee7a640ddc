"""thresholds.yaml to limits: `yaml_lines` reads it with line numbers, `schema` is its form, `file` loads and explains
it; `family_source`, `rules`, `fitness`, `regression` and `waivers` find what it says of one checkpoint; `plan`, `edit`
and `yaml_edit` write what was accepted.
"""

from pytest_maxact.limits.family_source import CARRIER, Limit
from pytest_maxact.limits.file import LimitsFile, builtin_path, load_limits
from pytest_maxact.limits.fitness import EFFECTS, MODEL
from pytest_maxact.limits.rules import GENERIC, Measured, Ruleset, select_rules, with_baseline, with_fitness
from pytest_maxact.limits.waivers import Waiver

__all__ = [
    "CARRIER",
    "EFFECTS",
    "GENERIC",
    "MODEL",
    "Limit",
    "LimitsFile",
    "Measured",
    "Ruleset",
    "Waiver",
    "builtin_path",
    "load_limits",
    "select_rules",
    "with_baseline",
    "with_fitness",
]
