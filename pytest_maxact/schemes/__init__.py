"""Deployment schemes: what they are called (`table`), what they do to a tensor (`numerics`), and what is kept of that
(`sums`).
"""
