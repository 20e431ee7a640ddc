"""Inputs that no corpus has, and that a served model is given: recipes, by name, of token sequences."""
