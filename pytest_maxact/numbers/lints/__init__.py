"""The kinds of findings of a look at a checkpoint's tensors, by what they are about."""
