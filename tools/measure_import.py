"""Measure what importing server and client adds to a program, from cached bytecode.

    python tools/measure_import.py [--runs 15]

Prints medians and the best run; the promise is at most 80 ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

PROGRAM = """
import sys, time
wall, cpu = time.perf_counter(), time.process_time()
from libevrpc import RpcClient, RpcServer
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def measure(runs: int) -> list[tuple[float, float]]:
    """Return wall and processor seconds of each run; one before them compiles."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        rows = []
        for _ in range(1 + runs):
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM],
                env=environ,
                capture_output=True,
                text=True,
                check=True,
            )
            wall_s, cpu_s = map(float, done.stdout.split())
            rows.append((wall_s, cpu_s))
    return rows[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="imports to time (15)")
    rows = measure(max(1, parser.parse_args().runs))
    for name, column in (("wall", [row[0] for row in rows]), ("processor", [r[1] for r in rows])):
        print(
            f"{name:9}  median {statistics.median(column) * 1000:5.1f} ms"
            f"  best {min(column) * 1000:5.1f} ms"
        )


if __name__ == "__main__":
    main()
