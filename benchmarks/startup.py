"""What the plugin costs a project that never asks for it, and how long a replay takes: whole processes, alternating,
medians.

python benchmarks/startup.py [RECORD]
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
PLAIN = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:xdist", "-q"]


def seconds(*arguments: str, folder: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pytest", *PLAIN, *arguments], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_one.py").write_text("def test_one(): pass\n")
        differences = [seconds(folder=folder) - seconds("-p", "no:maxact", folder=folder) for _ in range(ROUNDS)]
        print(f"installed and unused: {1000 * statistics.median(differences):+.1f} ms, median of {ROUNDS} pairs")
        if len(sys.argv) > 1:
            record = str(Path(sys.argv[1]).resolve())
            times = [seconds(f"--maxact-replay={record}", "-m", "maxact", folder=folder) for _ in range(ROUNDS)]
            print(f"replay, whole process: {statistics.median(times):.2f} s")


if __name__ == "__main__":
    main()
