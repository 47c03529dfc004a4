"""A center whose wall clock jumps: `stepped_center.py OPTIONS`, those of `python -m center`.

The file that FAKETIME_TIMESTAMP_FILE names says by how many seconds ("+3600", "-3600"), as
the faketime library has it; where that is not installed, this is what is left: everything in
Python that tells the wall clock is patched.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from center.__main__ import main

STEP = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])
REAL = {name: getattr(time, name) for name in ("time", "time_ns", "clock_gettime")}


def _step_s() -> int:
    return int(STEP.read_text())


def _gettime(clock: int) -> float:
    now_s: float = REAL["clock_gettime"](clock)
    return now_s + (_step_s() if clock == time.CLOCK_REALTIME else 0)


STEPPED = {
    "time": lambda: REAL["time"]() + _step_s(),
    "time_ns": lambda: REAL["time_ns"]() + _step_s() * 10**9,
    "clock_gettime": _gettime,
}

if __name__ == "__main__":
    for name, stepped in STEPPED.items():
        setattr(time, name, stepped)
    sys.exit(main(sys.argv[1:]))
