"""How much of a loop's time one connection takes: the more its bytes cost, the fewer at once."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PACED_BYTES", "paced"]

PACED_BYTES = 4096
"""Fewer bytes are taken without a look at the clock; no connection is read in smaller pieces."""
SHARE_S = 0.01
"""Processor time that the bytes of one read may cost. Tiny requests that are answered at once
cost the most: a megabyte of them, read at once, would hold everybody else for half a minute."""


def paced(take: Callable[[bytes], object], data: bytes) -> int:
    """Let `data` be taken; returns how many bytes to read at a time from now on, 0: any number.

    The time is this thread's own, so that a busy machine slows nobody down.
    """
    began_s = time.thread_time()
    take(data)
    spent_s = time.thread_time() - began_s
    return 0 if spent_s <= SHARE_S else max(PACED_BYTES, int(len(data) * SHARE_S / spent_s))
