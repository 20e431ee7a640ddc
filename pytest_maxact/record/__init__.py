"""The cut: all that a pass saw, as plain data and as one file. Everything behind it needs no model and no torch."""
