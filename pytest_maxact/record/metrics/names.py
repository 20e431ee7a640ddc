"""The names of relative metrics."""

GROWTH, SHRINK, SHIFT, MASSIVE, JUMP = "growth", "shrink", "shift", "new_massive_layers", "jump_shift"
DROP = ".drop"
"""Ends the name of a loss of SQNR: `int8.max_abs.sqnr_db.drop`."""
