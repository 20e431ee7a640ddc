"""`python -m pytest_maxact.cli`: the same as `maxact`."""

import sys

from pytest_maxact.cli.main import main

sys.exit(main())
