"""No thread and no file descriptor may outlive the test that made it.

What a wider fixture (module, session) opened is older than the test and does not count.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from libevrpc.clock import monotonic_s

JOIN_WITHIN_S = 20.0
"""How long the threads of a finished test may take to end, all together: only a test that fails
waits for so long, and one on a busy machine does not."""

FD_FOLDER = Path("/proc/self/fd")


def open_files() -> dict[int, str]:
    """Return what every open descriptor leads to; empty where there is no /proc."""
    found: dict[int, str] = {}
    if not FD_FOLDER.is_dir():
        return found
    for name in os.listdir(FD_FOLDER):
        with suppress(OSError):  # the descriptor that listed the folder is closed by now
            found[int(name)] = os.readlink(FD_FOLDER / name)
    return found


def leaked_files(before: dict[int, str]) -> list[str]:
    """Name the descriptors that are new, or lead elsewhere than before."""
    return [
        f"descriptor {number} -> {target}"
        for number, target in sorted(open_files().items())
        if before.get(number) != target
    ]


def leaked_threads(before: set[threading.Thread], within_s: float) -> list[str]:
    """Join the new threads; name those that still run after `within_s`."""
    deadline_s = monotonic_s() + within_s
    new = [thread for thread in threading.enumerate() if thread not in before]
    for thread in new:
        thread.join(max(0.0, deadline_s - monotonic_s()))
    return [f"thread {thread.name}" for thread in new if thread.is_alive()]


@pytest.fixture(autouse=True)
def no_leak() -> Iterator[None]:
    """Fail the test that leaves a thread or a descriptor behind."""
    threads, files = set(threading.enumerate()), open_files()
    yield
    leaks = leaked_threads(threads, JOIN_WITHIN_S)
    if leaked_files(files):
        gc.collect()  # closes what is only unreachable; an unclosed socket still warns, and fails
        leaks += leaked_files(files)
    if leaks:
        pytest.fail("left behind: " + "; ".join(leaks), pytrace=False)
