"""How the callback is imported, and what it reads where it is told nothing."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_maxact import corpus as corpora
from pytest_maxact.trainer.callback import MaxActCallback
from tests.support import tiny
from tests.support.paths import REPOSITORY
from tests.support.training import (
    record_at,
    trainer_of,
)


def test_the_module_can_be_imported_without_accelerate_and_what_needs_it() -> None:
    absent = "sys.modules['accelerate'] = sys.modules['peft'] = None"
    code = f"import sys; {absent}; from pytest_maxact.trainer import MaxActCallback; print(MaxActCallback.__name__)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert result.stdout.strip() == "MaxActCallback", result.stderr


def test_the_built_in_corpus_is_read_where_none_is_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pytest_maxact.trainer")
    trainer = trainer_of(tmp_path, tokenizer=tiny.character_tokenizer())
    trainer.add_callback(MaxActCallback(trainer, every=6))
    trainer.train()
    record = record_at(tmp_path, 6)
    assert record.provenance.corpus == "builtin"
    assert len(record.provenance.samples) == 16
    assert {category for _, category, *_ in record.provenance.samples} == set(corpora.samples.CATEGORIES)
    assert "this run is measured on 16 of 16 samples" in caplog.text
