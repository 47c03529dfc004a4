"""Children that a test forks off itself, while other threads of it run.

Such a child has no more than the thread that forked, and every lock that another thread held then
is held for ever in it; so none of what runs at the end of a process may run in it. It says its
result through a pipe and is killed, and what it ran is not counted.
"""

from __future__ import annotations

import os
import select
import signal
import traceback
from collections.abc import Callable

WAIT_S = 30.0
"""How long a child may take."""


def result_in_child(work: Callable[[], int]) -> int:
    """Return what `work` returns, 0 to 255, in a child forked from this thread.

    Raises:
        AssertionError: it raised, which its standard error tells, or took too long.
    """
    read, write = os.pipe()
    child = os.fork()
    if not child:  # pragma: no cover - in the child, which is not counted
        try:
            os.write(write, bytes([work()]))
        except BaseException:  # noqa: BLE001 - nothing may get out of here into pytest
            os.write(2, traceback.format_exc().encode())
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    try:
        ended, _, _ = select.select([read], [], [], WAIT_S)
        result = os.read(read, 1) if ended else b""
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
    assert ended, f"the forked child gave no result within {WAIT_S} s"
    assert result, "the forked child raised"
    return result[0]
