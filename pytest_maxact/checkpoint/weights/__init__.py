"""What schemes do to the weights of a checkpoint: where each lies in its files, and what becomes of it."""
