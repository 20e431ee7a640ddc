"""Can it ship in low bits: whether a scheme fits, what stands in its way, and what would help."""
