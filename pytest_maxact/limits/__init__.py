"""thresholds.yaml to limits: `yaml_lines` reads it with line numbers, `schema` validates it, `family_source` and `rules` find the limits of one checkpoint.

`edit` proposes limits from Records: `plan` says what is to be set, `yaml_edit` sets it in the text.
"""

from pytest_maxact.limits.family_source import CARRIER, Limit
from pytest_maxact.limits.fitness import EFFECTS, MODEL
from pytest_maxact.limits.rules import GENERIC, Ruleset, select_rules, with_baseline, with_fitness
from pytest_maxact.limits.schema import LimitsFile, builtin_path, load_limits
from pytest_maxact.limits.waivers import Waiver

__all__ = [
    "CARRIER",
    "EFFECTS",
    "GENERIC",
    "MODEL",
    "Limit",
    "LimitsFile",
    "Ruleset",
    "Waiver",
    "builtin_path",
    "load_limits",
    "select_rules",
    "with_baseline",
    "with_fitness",
]
