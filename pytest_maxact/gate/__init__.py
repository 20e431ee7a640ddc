"""One run: which checkpoints it is about, their Records, and the judging of them."""
