"""The figures of the paper, redrawn from its published figures with a model of one's own in them."""
