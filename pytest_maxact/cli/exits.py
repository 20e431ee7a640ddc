"""How a command ends, with pytest's codes: a breach, or what could not be measured, is 1; a bad request is 4."""

PASSED, FAILED, USAGE, INTERRUPTED = 0, 1, 4, 130
