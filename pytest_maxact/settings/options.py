"""The one table of options, which the pytest plugin and the `maxact` command both read; its parts are in `table/`."""

from pytest_maxact.settings.table.figures import FIGURES
from pytest_maxact.settings.table.judging import JUDGING
from pytest_maxact.settings.table.keeping import KEEPING
from pytest_maxact.settings.table.subject import SUBJECT

OPTIONS = (*SUBJECT, *FIGURES, *JUDGING, *KEEPING)
