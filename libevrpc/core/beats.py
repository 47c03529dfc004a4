"""Who has given a sign of life lately: what an HTTP registry knows. Pure, one thread at a time."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from libevrpc.errors import ConfigError, Errno, RpcError, StatusCode

__all__ = ["ADDRESS_BYTES_MAX", "KEPT_MAGIC", "Beat", "BeatTable"]

ADDRESS_BYTES_MAX: Final = 256
"""Longest spelling of one server's address."""
TABLE_BYTES_MAX: Final = 8 << 20
"""Most bytes of all addresses and records together, as they are kept."""
KEPT_MAGIC: Final = b"libevrpc-registry "
"""What the kept begins with; the checksum of the rest follows."""
_KEPT_VERSION = 1


@dataclass(slots=True)
class Beat:
    """One server.

    Attributes:
        address: as the server spelled it, such as ``tcp@10.0.0.7:9998``.
        record: what it says of itself beside that, JSON; empty: nothing.
        span_s: it is gone when silent for longer; 0: never.
        until_s: when that is; infinite: never.
    """

    address: str
    record: str
    span_s: float
    until_s: float


class BeatTable:
    """Address -> last sign of life.

    Args:
        span_s: how long a server may be silent that asks for nothing else; 0: for ever. A
            server may ask for less, not for more.
        servers_max: most servers; one more is refused.

    Attributes:
        version: grows with every change of what `beats` returns.
        due_s: nobody expires before this instant.
    """

    __slots__ = ("_beats", "_bytes", "_servers_max", "_span_s", "due_s", "version")

    def __init__(self, span_s: float, servers_max: int) -> None:
        self._span_s = span_s
        self._servers_max = servers_max
        self._beats: dict[str, Beat] = {}
        self._bytes = 0
        self.version = 0
        self.due_s = math.inf

    def beat(self, address: str, record: str, asked_s: float, now_s: float) -> float:
        """Note a sign of life; returns the span in which the next one is due, 0: none is.

        Args:
            address: of the server.
            record: what it says of itself.
            asked_s: the span that it asks for; 0: the table's own.
            now_s: the time.

        Raises:
            RpcError: the address cannot be one (1003), or there is no room (2004).
        """
        _check(address)
        span_s = min(asked_s or math.inf, self._span_s or math.inf)
        until_s = now_s + span_s
        known = self._beats.get(address)
        if known is None or known.record != record:
            self._make_room(address, record, known)
            self._beats[address] = known = Beat(address, record, 0.0, 0.0)
            self.version += 1
        known.until_s = until_s
        known.span_s = 0.0 if math.isinf(span_s) else span_s
        self.due_s = min(self.due_s, until_s)
        return known.span_s

    def _make_room(self, address: str, record: str, known: Beat | None) -> None:
        size = self._bytes + _size(address, record)
        if known is None and len(self._beats) >= self._servers_max:
            raise _full(f"{self._servers_max} servers")
        if known is not None:
            size -= _size(known.address, known.record)
        if size > TABLE_BYTES_MAX:
            raise _full(f"{TABLE_BYTES_MAX} bytes")
        self._bytes = size

    def leave(self, address: str) -> bool:
        """Forget a server; False if it was not known."""
        gone = self._beats.pop(address, None)
        if gone is None:
            return False
        self._bytes -= _size(gone.address, gone.record)
        self.version += 1
        return True

    def purge(self, now_s: float) -> list[str]:
        """Forget who has been silent for too long; returns their addresses."""
        if now_s < self.due_s:
            return []
        gone = [each.address for each in self._beats.values() if each.until_s <= now_s]
        for address in gone:
            self.leave(address)
        self.due_s = min((each.until_s for each in self._beats.values()), default=math.inf)
        return gone

    def beats(self) -> Sequence[Beat]:
        """Return every server, in the order of the addresses."""
        return sorted(self._beats.values(), key=lambda each: each.address)

    # -- over a restart -----------------------------------------------------------------

    def kept(self) -> bytes:
        """Return what a later process can go on with."""
        servers = [[each.address, each.record, each.span_s] for each in self.beats()]
        body = _json({"v": _KEPT_VERSION, "servers": servers})
        return b"%s%08x\n%s\n" % (KEPT_MAGIC, zlib.crc32(body), body)

    def take(self, kept: bytes, now_s: float) -> int:
        """Go on with what `kept` returned; returns how many servers that were.

        How long nobody listened is not known, so each of them gets its whole span from now on.
        The table must be empty.

        Raises:
            ConfigError: it is damaged, was written by a later version, or is too long; then
                nobody is taken.
        """
        for address, record, span_s in _servers_of(kept):
            try:
                self.beat(address, record, span_s, now_s)
            except RpcError as exc:
                for each in self.beats():
                    self.leave(each.address)
                raise ConfigError(exc.text) from None
        return len(self._beats)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _size(address: str, record: str) -> int:
    """Return how many bytes a server takes on disk, nearly."""
    return len(_json([address, record]))


def _check(address: str) -> None:
    """Refuse what could not stand in a list of addresses with commas between them."""
    fit = address.isascii() and address.isprintable() and not set(address) & set(" ,;\"'\\<>")
    if not fit or not 0 < len(address) <= ADDRESS_BYTES_MAX:
        text = f"{address[:80]!r} is no address; write tcp@host:port, http@host:port, unix@/path"
        raise RpcError.from_errno(Errno.BAD_REQUEST, text)


def _full(limit: str) -> RpcError:
    text = f"the registry is full: {limit} are the limit"
    return RpcError(StatusCode.RESOURCE_EXHAUSTED, text, errno=Errno.LIMIT)


def _servers_of(kept: bytes) -> list[tuple[str, str, float]]:
    """Read what stands in a file.

    Raises:
        ConfigError: it is not what `kept` wrote.
    """
    checksum, _, body = kept.partition(b"\n")
    body = body.removesuffix(b"\n")
    if checksum != b"%s%08x" % (KEPT_MAGIC, zlib.crc32(body)):
        raise ConfigError("it is torn, or no registry's")
    found: Any = json.loads(body)
    if found["v"] != _KEPT_VERSION:
        raise ConfigError(f"version {found['v']}; this libevrpc reads {_KEPT_VERSION}")
    return [(address, record, span_s) for address, record, span_s in found["servers"]]
