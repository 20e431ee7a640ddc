"""The pytest side: a door, without logic. `hooks` and `watching` hold what pytest calls, in its order; this module
hands it on.
"""

from pytest_maxact.plugin.fixtures import maxact_check, maxact_checkpoint, maxact_record
from pytest_maxact.plugin.hooks import (
    pytest_addhooks,
    pytest_addoption,
    pytest_cmdline_main,
    pytest_collection,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_configure_node,
    pytest_generate_tests,
    pytest_load_initial_conftests,
    pytest_report_header,
    pytest_runtestloop,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_unconfigure,
)
from pytest_maxact.plugin.watching import (
    pytest_collection_finish,
    pytest_deselected,
    pytest_itemcollected,
    pytest_make_collect_report,
    pytest_runtest_makereport,
)

__all__ = [
    "maxact_check",
    "maxact_checkpoint",
    "maxact_record",
    "pytest_addhooks",
    "pytest_addoption",
    "pytest_cmdline_main",
    "pytest_collection",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_deselected",
    "pytest_generate_tests",
    "pytest_itemcollected",
    "pytest_load_initial_conftests",
    "pytest_make_collect_report",
    "pytest_report_header",
    "pytest_runtest_makereport",
    "pytest_runtestloop",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_unconfigure",
]
