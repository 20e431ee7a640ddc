"""The report of a run for programs: its form, which is published, and what fills it."""
