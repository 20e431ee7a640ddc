"""What views of code scanning show of a run."""
