"""One limit against one Record: the only comparisons in the program, their findings, and these in words."""
