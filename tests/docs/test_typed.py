"""The commands of README and docs, typed in order in one bash: each is found, and finds what it reads, by what stands
before it.
"""

from pathlib import Path

import pytest

from tests.support.markdown import blocks_of
from tests.support.newcomer import shell
from tests.support.paths import REPOSITORY

FIXTURES = ("fixtures/qwen3-tiny", "fixtures/qwen3-tiny-steps/step-900")
GIVEN: dict[str, tuple[str, ...]] = {
    "README.md": ("DIR", "limits.yaml", "old.safetensors", "runs/checkpoint-1", *FIXTURES),
    "docs/quickstart.md": ("DIR", *FIXTURES),
    "docs/cli.md": (
        "DIR", "limits.yaml", "old.safetensors", "new.safetensors", "checkpoint-1.maxact.safetensors",
        "part-1.safetensors", "part-2.safetensors", "corpus.jsonl",
    ),
    "docs/card.md": ("DIR",),
    "docs/ci.md": ("DIR", "limits.yaml", "runs/checkpoint-1"),
    "docs/deploy.md": ("DIR",),
    "docs/kv_cache.md": ("DIR", "planted"),
    "docs/machines.md": ("DIR",),
    "docs/regression.md": (
        "DIR", "NEW", "FINETUNE", "BASE", "limits.yaml", "old.maxact.safetensors", "runs/checkpoint-1",
        "runs/checkpoint-1.maxact.safetensors", "accepted-1.safetensors", "accepted-2.safetensors",
    ),
}  # fmt: skip
"""What a page takes as the reader's own."""
FIRST = ("README.md", "docs/quickstart.md")
"""Pages that begin with nothing installed."""


def typed(page: str) -> str:
    return "".join(block.text for block in blocks_of(REPOSITORY / page) if block.language == "bash")


@pytest.mark.parametrize("page", GIVEN)
def test_the_commands_of_a_page_work_in_the_order_in_which_they_stand(page: str, tmp_path: Path) -> None:
    assert shell(tmp_path, typed(page), GIVEN[page], installed=page not in FIRST) == ""


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("python3 -m venv .venv && .venv/bin/pip install .\npytest\n", "pytest: command not found"),
        ("python3 -m venv .venv && source .venv/bin/activate && pip install .\npytest -n 2", "unrecognized arguments"),
        ("maxact judge run.safetensors\n", "command not found"),
    ],
)
def test_what_a_page_forgets_is_noticed(script: str, complaint: str, tmp_path: Path) -> None:
    assert complaint in shell(tmp_path, script)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("maxact show run.safetensors", "there is no run.safetensors"),
        ("pytest --maxact-model=org/name --maxact-revision=<commit>", "syntax error near"),
        ("maxact measure DIR -o r\nmaxact export r --smoothquant s", "r has no inputs of linear layers"),
        ("maxact measure DIR -o r --sites deploy\nmaxact export r --kv-scales s", "r has no keys and values"),
    ],
)
def test_a_command_that_lacks_what_it_reads_is_noticed(script: str, complaint: str, tmp_path: Path) -> None:
    assert complaint in shell(tmp_path, script, ["DIR"], installed=True)
