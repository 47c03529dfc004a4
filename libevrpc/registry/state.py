"""Small files that survive a restart: a remembered map, a remembered center.

They only ever save time: an unreadable or unwritable one is one warning and no more.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
from pathlib import Path

__all__ = ["StateFile", "state_folder"]

log = logging.getLogger(__name__)

RECORD_BYTES_MAX = 16 << 20
"""A longer file is not read."""


def state_folder(configured: str) -> Path:
    """Return the folder for remembered things: configured, else the user's state folder."""
    if configured:
        return Path(configured)
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "libevrpc"


class StateFile:
    """One remembered record. One thread; processes with the same name take turns.

    Args:
        folder: made with 0700 if need be; files get 0600.
        kind: first part of the name.
        identity: what the record belongs to; hashed into the name.
    """

    def __init__(self, folder: Path, kind: str, identity: str) -> None:
        digest = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
        self._path = folder / f"{kind}-{digest}"
        self._warned = False

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

    def write(self, record: bytes) -> None:
        """Replace the record, whole or not at all; skipped while another process does."""
        scratch = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with os.fdopen(
                    os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600),
                    "wb",
                ) as file:
                    file.write(record)
                scratch.replace(self._path)
            except BlockingIOError:
                return  # the other process remembers the same thing, and the next write is near
            finally:
                os.close(lock)
        except OSError as exc:
            with contextlib.suppress(OSError):
                scratch.unlink()
            self._warn("write", exc)

    def _warn(self, what: str, exc: OSError) -> None:
        if not self._warned:
            self._warned = True
            log.warning("cannot %s %s: %s; going on without", what, self._path, exc.strerror)
