"""The `maxact` command: the gate outside pytest, in parts. A door, without logic."""

from pytest_maxact.cli.main import main

__all__ = ["main"]
