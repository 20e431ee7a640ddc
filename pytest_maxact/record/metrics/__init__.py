"""Figures of a Record by the names that limits, reports and tests use for them."""
