"""How a command ends, with pytest's codes: a breach, or what could not be measured, is 1; a bad request is 4.

Where it is interrupted or asked to end, or nobody reads any more what it prints, it ends as what the signal for that
ended: 0 would be a PASS, 1 a breach.
"""

PASSED, FAILED, USAGE = 0, 1, 4
INTERRUPTED, UNREAD, ENDED = 128 + 2, 128 + 13, 128 + 15
