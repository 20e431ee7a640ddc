"""Tests mirror the rooms of the package; `support` has what they share, whose assertions speak as theirs do."""

import pytest

pytest.register_assert_rewrite("tests.support")
