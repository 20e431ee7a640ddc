"""For a program: plain data, every figure a number or null."""
