"""What a run was asked to do: the table of options, and how command line, ini file and defaults resolve."""
