"""A file of the kind that JUnit writes, for views of tests."""
