"""`python -m pytest_maxact`: the same as `maxact`, as torchrun starts it: `torchrun -m pytest_maxact measure ...`."""

import sys

from pytest_maxact.cli.main import main

sys.exit(main())
