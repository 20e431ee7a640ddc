"""Where a model lives: what is free, what it needs, and which of the ways to run it is chosen before it is loaded."""
