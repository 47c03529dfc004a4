"""Wake a thread that sleeps in a selector, through a pipe."""

from __future__ import annotations

import os

__all__ = ["WakeupPipe"]

_DRAIN_BYTES = 4096


class WakeupPipe:
    """A non-blocking pipe whose read end sits in a selector.

    A byte means "look", never "one item": a full pipe is as good as a written one, and
    the reader empties it before it looks.
    """

    __slots__ = ("_read_fd", "_write_fd")

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)

    def fileno(self) -> int:
        """Return the read end, for the selector."""
        return self._read_fd

    def ring(self) -> None:
        """Wake the reader. Any thread, never after `close` (the owner's lock sees to that)."""
        try:
            os.write(self._write_fd, b"!")
        except BlockingIOError:
            return  # the pipe is full: the reader has not woken yet, and will

    def drain(self) -> None:
        """Empty the pipe. Reader's thread only."""
        try:
            while len(os.read(self._read_fd, _DRAIN_BYTES)) == _DRAIN_BYTES:
                continue
        except BlockingIOError:
            return  # it was empty, or held exactly a whole chunk

    def close(self) -> None:
        """Close both ends. Once."""
        os.close(self._read_fd)
        os.close(self._write_fd)
