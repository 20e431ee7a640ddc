"""What a scheme does to predictions: the model with its head, a scheme in effect, and the comparison."""
