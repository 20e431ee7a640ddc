"""Tests mirror the rooms of the package; `support` has what they share, whose assertions speak as theirs do."""

import atexit
import os
import shutil
import tempfile

import pytest

_modules = tempfile.mkdtemp(prefix="modules-")
os.environ["HF_MODULES_CACHE"] = _modules
"""Where transformers copies the code of checkpoints: apart for every process of a run, for folders are called alike."""
atexit.register(shutil.rmtree, _modules, ignore_errors=True)

pytest.register_assert_rewrite("tests.support")
