"""The Records of one training run: their order, and how they develop."""
