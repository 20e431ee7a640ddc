"""Whether what a Record says agrees with itself."""
