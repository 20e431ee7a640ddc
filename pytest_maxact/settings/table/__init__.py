"""The parts of the table of options, by what they say."""
