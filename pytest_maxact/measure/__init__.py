"""From settings to a Record: the live half of the program."""
