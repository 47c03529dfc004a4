"""The durable state of one center: one small file, written whole or not at all.

``evrpc-center`` + version (1 byte) + CRC-32 of version and what follows (4 bytes, big-endian) +
msgpack array. In version 1 the checksum was of the array alone. A write goes to a second file,
is fsynced, renamed over the first one, and the folder is fsynced: after any crash there is the
old record or the new one. The folder is locked while a center runs, so two processes with one id
do not share it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgpack

from center.core.ballot import RECORD_MAX
from center.core.record import MapRecord, Record
from libevrpc.errors import ConfigError

__all__ = ["Loaded", "Store"]

MAGIC = b"evrpc-center"
FORMAT = 2
"""The version that is written; a newer one is refused, since reading half of it is no safety."""
FORMAT_OF_BODY_SUM = 1
"""The version whose checksum is of the body alone."""
HEAD_BYTES = len(MAGIC) + 1 + 4
RECORD_BYTES_MAX = 64 << 20
"""Largest file that is read."""

RECORD_NAME = "record"
SCRATCH_NAME = "record.new"
LOCK_NAME = "lock"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the disk held.

    Attributes:
        record: None on an empty disk, and if it is damaged.
        damaged: why the file there cannot be believed, "" if it can. A center that starts
            so must not vote before it has stored an established leader's map.
    """

    record: Record | None
    damaged: str = ""


class Store:
    """The data folder of center `center_id`. One thread at a time; `write` blocks.

    Raises:
        ConfigError: the folder cannot be made or written, another process holds it, or it
            belongs to another center.
    """

    def __init__(self, folder: Path, center_id: int) -> None:
        """Make the folder (0700) if need be, and lock it until `close`."""
        self._folder = folder
        self._center_id = center_id
        try:
            _make(folder)
            self._lock_fd = os.open(
                folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as exc:
            raise ConfigError(f"data folder {folder}: {exc.strerror}; set data_dir") from exc
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._lock_fd)
            raise ConfigError(
                f"data folder {folder} is in use by another center; "
                "give each center its own id and data_dir"
            ) from exc

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the folder free. Idempotent."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def load(self) -> Loaded:
        """Read what was written last.

        Raises:
            ConfigError: the record is of a newer version or of another center, or it cannot
                be read at all.
        """
        path = self._folder / RECORD_NAME
        try:
            with path.open("rb") as file:
                content = file.read(RECORD_BYTES_MAX + 1)
        except FileNotFoundError:
            return Loaded(None)
        except OSError as exc:
            raise ConfigError(f"{path}: {exc.strerror}; the center needs its record") from exc
        if len(content) > RECORD_BYTES_MAX:
            return Loaded(None, f"{path}: over {RECORD_BYTES_MAX} bytes")
        return self._read(path, content)

    def _read(self, path: Path, content: bytes) -> Loaded:
        if len(content) < HEAD_BYTES or not content.startswith(MAGIC):
            return Loaded(None, f"{path}: no record of a center")
        version = content[len(MAGIC)]
        body = content[HEAD_BYTES:]
        if _sum_of(version, body) != content[len(MAGIC) + 1 : HEAD_BYTES]:
            return Loaded(None, f"{path}: torn or altered (checksum)")
        if version > FORMAT:
            raise ConfigError(
                f"{path}: written by a newer libevrpc (format {version}, this one reads "
                f"{FORMAT}); update this center"
            )
        try:
            center_id, record = _unpack(msgpack.unpackb(body))
        except (ValueError, TypeError) as exc:
            return Loaded(None, f"{path}: no record of a center: {exc}")
        if center_id != self._center_id:
            raise ConfigError(
                f"data folder {self._folder} belongs to center {center_id}, this is center "
                f"{self._center_id}; set data_dir"
            )
        return Loaded(record)

    def write(self, record: Record) -> None:
        """Make `record` durable. Blocks for as long as the disk takes.

        Raises:
            OSError: it is not durable; the disk may hold the old record or this one.
        """
        body = msgpack.packb(_pack(self._center_id, record))
        head = MAGIC + bytes([FORMAT]) + _sum_of(FORMAT, body)
        scratch = self._folder / SCRATCH_NAME
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, head + body)
            os.fsync(fd)
        finally:
            os.close(fd)
        scratch.rename(self._folder / RECORD_NAME)
        _sync(self._folder)


def _make(folder: Path) -> None:
    """Make the folder, and what is missing above it; a record lasts no longer than its path.

    Raises:
        OSError: it cannot be made, or its path is not durable.
    """
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / RECORD_NAME).exists():  # whoever made it before may have died at once
        new.append(folder)
    for parent in dict.fromkeys(each.parent for each in new):
        with contextlib.suppress(PermissionError):  # it may be entered and not read
            _sync(parent)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _sum_of(version: int, body: bytes) -> bytes:
    """Return the checksum of a record; every version after 1 has it over itself and the body."""
    start = 0 if version == FORMAT_OF_BODY_SUM else zlib.crc32(bytes([version]))
    return zlib.crc32(body, start).to_bytes(4, "big")


def _pack(center_id: int, record: Record) -> list[Any]:
    kept = record.map
    packed = None if kept is None else [kept.epoch, kept.version, kept.parent, kept.payload]
    return [
        center_id,
        record.cluster_id,
        record.accepted_epoch,
        packed,
        record.committed,
        record.list_digest,
        record.list_generation,
        record.forgot,
    ]


def _unpack(packed: object) -> tuple[int, Record]:
    """Rebuild center and record, as `_pack` took them apart.

    Raises:
        ValueError: another program made this, though its checksum is right.
    """
    center_id, cluster_id, accepted_epoch, kept, committed, digest, generation, forgot = _shaped(
        packed, (int, str, int, list | None, bool, str, int, bool)
    )
    stored = None
    if kept is not None:
        epoch, version, parent, payload = _shaped(kept, (int, int, list, bytes))
        parent_epoch, parent_version = _shaped(parent, (int, int))
        stored = MapRecord(epoch, version, (parent_epoch, parent_version), payload)
    record = Record(cluster_id, accepted_epoch, stored, committed, digest, generation, forgot)
    numbers = (accepted_epoch, *record.stamp)
    if min(numbers) < 0 or max(numbers) > RECORD_MAX:
        raise ValueError(f"an epoch or version {max(numbers, key=abs)}")
    return center_id, record


def _shaped(packed: object, kinds: tuple[Any, ...]) -> list[Any]:
    """Return `packed` if it is a list of values of these kinds, in this order.

    Raises:
        ValueError: it is not.
    """
    if (
        not isinstance(packed, list)
        or len(packed) != len(kinds)
        or not all(
            isinstance(value, kind) and isinstance(value, bool) is (kind is bool)
            for value, kind in zip(packed, kinds, strict=True)
        )
    ):
        raise ValueError("values of another shape")
    return packed
