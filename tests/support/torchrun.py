"""Commands under torchrun, as a user starts them."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def torchrun(folder: Path, *arguments: object, ranks: int = 2) -> "subprocess.CompletedProcess[str]":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}"),
            *("--master-addr=127.0.0.1", f"--master-port={port}", "-m", *map(str, arguments)),
        ],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        env={
            **os.environ, "PYTHON_EXEC": sys.executable, "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
        },
    )  # fmt: skip
