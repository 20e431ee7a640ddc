"""How products of 16-bit numbers may be computed, by name. Standard library only: every start of pytest imports it."""

NATIVE, ACCUMULATED = "native", "float32-accumulate"
ARITHMETIC = ("auto", NATIVE, ACCUMULATED)
