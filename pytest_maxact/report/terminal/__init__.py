"""For a person: text that fits a terminal."""
