"""A measurement that was killed goes on where it was."""
