"""Small files that survive a restart: a remembered map, a remembered center.

They only ever save time: an unreadable or unwritable one is one warning and no more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from libevrpc.clock import monotonic_s

__all__ = ["StateFile", "state_folder"]

log = logging.getLogger(__name__)

RECORD_BYTES_MAX = 16 << 20
"""A longer file is not read."""


def state_folder(configured: str) -> Path | None:
    """Return the folder for remembered things: configured, else the user's state folder.

    None: there is no user, as in some containers.
    """
    if configured:
        return Path(configured).absolute()  # the program may change its working folder
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "libevrpc" if os.path.isabs(state) else None


class StateFile:
    """One remembered record. One thread at a time; processes with the same name take turns.

    Args:
        folder: made with 0700 if need be; files get 0600. None: nothing is kept.
        kind: first part of the name.
        identity: what the record belongs to; hashed into the name.
        may_replace: tells whether a new record may replace the stored one; None: always.
    """

    def __init__(
        self,
        folder: Path | None,
        kind: str,
        identity: str,
        may_replace: Callable[[bytes, bytes], bool] | None = None,
    ) -> None:
        digest = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
        if folder is None:
            log.warning("nothing is remembered of %s: no state folder; set state_dir", identity)
            folder = Path(os.devnull)  # holds nothing, and that has been said
        self._path = folder / f"{kind}-{digest}"
        self._may_replace = may_replace
        self._warned = folder == Path(os.devnull)
        self._newest: deque[bytes] = deque(maxlen=1)
        self._turn = deque[None]([None])
        """Empty while a thread writes: whoever takes it out is the one who may."""
        self._writer: threading.Thread | None = None

    def read(self) -> bytes | None:
        """Return the record; None if there is none that can be read."""
        try:
            with self._path.open("rb") as file:
                record = file.read(RECORD_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            self._warn("read", exc)
            return None
        return record if len(record) <= RECORD_BYTES_MAX else None

    def write_soon(self, record: bytes) -> None:
        """Replace the record, on a thread that ends with its work; the newest one wins."""
        self._newest.append(record)
        if not self._takes_turn():
            return
        writer = threading.Thread(target=self._work, name="libevrpc-state", daemon=True)
        self._writer = writer
        try:
            writer.start()
        except RuntimeError as exc:
            self._newest.clear()
            self._turn.append(None)
            self._warn("write", OSError(errno.EAGAIN, str(exc)))

    def flush(self, timeout_s: float) -> None:
        """Wait until what was to be written is, for at most `timeout_s`."""
        by_s = monotonic_s() + timeout_s
        while self._newest or not self._turn:
            left_s = by_s - monotonic_s()
            if left_s <= 0.0 or self._writer is None:
                return
            self._writer.join(left_s)

    def _takes_turn(self) -> bool:
        """Tell whether the caller is the one who writes now: two would overtake each other."""
        with contextlib.suppress(IndexError):
            self._turn.pop()
            return True
        return False

    def _work(self) -> None:
        while True:
            try:
                self._write_all()
            finally:
                self._turn.append(None)
            # what came while the turn was ours waits for us alone
            if not self._newest or not self._takes_turn():
                return
            self._writer = threading.current_thread()

    def _write_all(self) -> None:
        while True:
            try:
                record = self._newest.pop()
            except IndexError:
                return
            self.write(record)

    def write(self, record: bytes) -> None:
        """Replace the record, whole or not at all. Blocks for as long as the disk takes."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._replace(record)
            finally:
                os.close(lock)
        except OSError as exc:
            self._warn("write", exc)

    def _replace(self, record: bytes) -> None:
        stored = self.read()
        if stored is not None and self._may_replace and not self._may_replace(stored, record):
            return
        scratch = self._path.with_name(f"{self._path.name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(scratch, flags, 0o600), "wb") as file:
                file.write(record)
            scratch.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                scratch.unlink()
            raise

    def _warn(self, what: str, exc: OSError) -> None:
        if not self._warned:
            self._warned = True
            log.warning("cannot %s %s: %s; going on without", what, self._path, exc.strerror)
