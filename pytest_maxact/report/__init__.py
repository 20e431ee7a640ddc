"""What a run shows: `terminal` for a person, `summary` for a program, `progress` while measuring. All of it reads the
findings of `verdict`.
"""
