"""What figures are drawn from: Records, limits and findings in, plain data out, computed once."""
