"""Hidden states on disk: the same bytes come back or an error does, and nothing is left behind, not by a process that
was killed either.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.stream.spill import Folder, clear

WIDTH = 8
HOLDS = """
import sys, time
from pathlib import Path
from pytest_maxact.measure.stream.spill import Folder
with Folder(Path(sys.argv[1])) as folder:
    (folder.path / "1.states").write_bytes(b"hidden")
    print(folder.path, flush=True)
    time.sleep(60)
"""


def test_wide_states_lose_their_memory_and_get_it_back(tmp_path: Path) -> None:
    wide = torch.randn(2, 3, WIDTH)
    view, narrow = wide[1:], torch.randn(2, 3, WIDTH - 1)
    ids = torch.arange(2 * WIDTH).view(2, WIDTH)
    before = [tensor.clone() for tensor in (wide, view, narrow, ids)]
    with Folder(tmp_path) as folder, torch.inference_mode():
        spill = folder.spill(WIDTH)
        for _ in range(2):
            laid = spill.lay_down(((wide, narrow), {"also": [view], "ids": ids}))
            assert wide.untyped_storage().nbytes() == view.untyped_storage().nbytes() == 0
            assert narrow.untyped_storage().nbytes()
            spill.take_up(laid)
            for tensor, known in zip((wide, view, narrow, ids), before, strict=True):
                assert torch.equal(tensor, known)
        assert folder.written == 2 * wide.nbytes
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_what_is_not_what_was_written_is_refused(damage: str, tmp_path: Path) -> None:
    states = torch.randn(4, WIDTH)
    with Folder(tmp_path) as folder:
        spill = folder.spill(WIDTH)
        laid = spill.lay_down(states)
        (file,) = folder.path.glob("*.states")
        content = file.read_bytes()
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(content[:-1] + b"\x00" * (damage == "changed"))
            assert file.read_bytes() != content
        with pytest.raises(MeasureError, match="hidden states are not what was written there"):
            spill.take_up(laid)


def test_a_folder_that_cannot_be_written_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"hidden states cannot be laid down.*\n.*TMPDIR"), Folder(tmp_path / "none"):
        pass


def test_what_a_killed_process_left_goes_with_the_next_pass_and_nothing_else(tmp_path: Path) -> None:
    mine = tmp_path / "maxact-spill-mine"
    mine.mkdir()
    (mine / "notes").write_text("a user's")
    holds = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holds.stdout is not None
    theirs = Path(holds.stdout.readline().strip())
    assert not clear(tmp_path)
    assert (theirs / "1.states").is_file()
    holds.send_signal(signal.SIGKILL)
    holds.wait()
    holds.stdout.close()
    until = time.monotonic() + 10
    with Folder(tmp_path):
        while theirs.exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert not theirs.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["maxact-spill-mine"]
