"""How much of a loop's time one connection takes: the more its bytes cost, the fewer at once."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = [
    "PACED_BYTES",
    "READS_PER_TURN_MAX",
    "READ_CHUNK_BYTES",
    "READ_CHUNK_BYTES_MAX",
    "SHARE_S",
    "fewer_bytes",
    "timed",
]

READ_CHUNK_BYTES = 8 * 1024
READ_CHUNK_BYTES_MAX = 32 * 1024
"""A connection that fills its chunks is read in larger ones, up to this. What one holds may cost
anything, so they are small. A megabyte at a time is slower: its memory is new each time."""
READS_PER_TURN_MAX = 32
"""Full chunks read from one connection before the others have their turn."""
PACED_BYTES = 4096
"""Fewer bytes are taken without a look at the clock; no connection is read in smaller pieces."""
SHARE_S = 0.01
"""Processor time that the bytes of one connection may cost in one turn. Tiny requests that are
answered at once cost the most: a megabyte of them would hold everybody else for seconds."""


def timed(take: Callable[[bytes], object], data: bytes) -> float:
    """Let `data` be taken; returns the seconds that it cost.

    The time is this thread's own, so that a busy machine slows nobody down.
    """
    began_s = time.thread_time()
    take(data)
    return time.thread_time() - began_s


def fewer_bytes(size: int, spent_s: float) -> int:
    """Return how many bytes to read at a time where `size` of them cost more than a share."""
    return max(PACED_BYTES, int(size * SHARE_S / spent_s))
