"""Where the repository and its fixtures lie."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FIXTURES = REPOSITORY / "fixtures"
TRAINED = FIXTURES / "qwen3-tiny"
RECORDS = REPOSITORY / "tests" / "data" / "records"
"""Records of every kind, written before the modules moved to where they are, with what `maxact show --json` said of
them then.
"""
