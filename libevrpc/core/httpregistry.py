"""What travels between an HTTP registry, its servers and its clients.

TinyRPC's and gee-rpc's peers read and write headers alone, the same two under two names. Ours say
more: a server sends its record as the body of its POST, a client that accepts JSON gets all
records as the body of its GET, and asks with WAIT_HEADER and VERSION_HEADER for news alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from libevrpc.errors import Errno, ProtocolError, RpcError

__all__ = [
    "DIALECTS",
    "EXPIRY_HEADER",
    "RECORD_BYTES_MAX",
    "VERSION_HEADER",
    "WAIT_HEADER",
    "WORD_HEADER",
    "Dialect",
    "Listed",
    "Words",
    "check_record",
    "read_list",
    "span_of",
    "write_list",
]

EXPIRY_HEADER: Final = "X-Libevrpc-Expiry"
"""Seconds. Of a POST: how long the registry shall wait for the next one; of its answer: how long
it will, 0 for ever."""
VERSION_HEADER: Final = "X-Libevrpc-Version"
"""Of an answer to GET: names the state of the list. Of a GET: the state that is known already."""
WAIT_HEADER: Final = "X-Libevrpc-Wait"
"""Seconds. Of a GET with a known version: how long the answer may wait for another one."""
WORD_HEADER: Final = "X-Libevrpc-Word"
"""Of a POST or DELETE: ``life-number``; the numbers of one life of a server grow."""
RECORD_BYTES_MAX: Final = 256 << 10
"""Longest record of one server."""
WORD_CHARS_MAX: Final = 40
SPAN_MAX_S: Final = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one of the two originals spells the registry.

    Attributes:
        path: where it is, unless somebody put it elsewhere.
        server_header: of a POST: the address of the server.
        servers_header: of the answer to a GET: all addresses, commas between them.
    """

    path: str
    server_header: str
    servers_header: str


DIALECTS: Mapping[str, Dialect] = {
    "tinyrpc": Dialect("/_tinyrpc_/registry", "X-Tinyrpc-Server", "X-Tinyrpc-Servers"),
    "geerpc": Dialect("/_geerpc_/registry", "X-Geerpc-Server", "X-Geerpc-Servers"),
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One server of a list.

    Attributes:
        address: as it spelled itself.
        record: the JSON of what it says of itself; empty: nothing.
    """

    address: str
    record: bytes


class Words:
    """The last word of each server, so that none counts which comes behind a later one.

    A registry that was frozen finds what was said to it meanwhile on several connections, and
    takes it in any order: a beat could come behind the goodbye. One thread at a time.

    Args:
        servers_max: of more than so many those are forgotten who were heard of longest ago.
    """

    def __init__(self, servers_max: int) -> None:
        self._servers_max = servers_max
        self._last: dict[str, tuple[str, int]] = {}

    def late(self, address: str, word: str) -> bool:
        """Note a word of a server; True: a later one of the same life was heard before.

        Args:
            address: of the server.
            word: what WORD_HEADER says; one that cannot be read is in time.
        """
        life, _, digits = word.partition("-")
        if not (digits.isascii() and digits.isdecimal()) or len(word) > WORD_CHARS_MAX:
            return False
        told = (life, int(digits))
        last = self._last.pop(address, told)
        late = last[0] == life and told[1] < last[1]
        self._last[address] = last if late else told
        if len(self._last) > self._servers_max:
            del self._last[next(iter(self._last))]
        return late


def check_record(body: bytes) -> str:
    """Return a record as text.

    Raises:
        RpcError: 1003, it is no JSON object, or too long.
    """
    if len(body) > RECORD_BYTES_MAX:
        text = f"record of {len(body)} bytes, at most {RECORD_BYTES_MAX}"
        raise RpcError.from_errno(Errno.BAD_REQUEST, text)
    try:
        found = json.loads(body, parse_constant=_no_number)
        if isinstance(found, dict):
            json.dumps(found, ensure_ascii=False).encode()  # half a character fits into no list
            return body.decode()
    except (ValueError, RecursionError) as exc:
        reason = str(exc) or "nested too deeply"
        raise RpcError.from_errno(Errno.BAD_REQUEST, f"record is no JSON: {reason}") from None
    raise RpcError.from_errno(Errno.BAD_REQUEST, "record is no JSON object")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def span_of(text: str | None) -> float:
    """Return the seconds that a header says; 0: it says nothing.

    Raises:
        RpcError: 1003, it is no span.
    """
    if not text:
        return 0.0
    try:
        span_s = float(text)
    except ValueError:
        span_s = math.nan
    if not 0.0 <= span_s <= SPAN_MAX_S:
        raise RpcError.from_errno(Errno.BAD_REQUEST, f"{text[:40]!r} is no number of seconds")
    return span_s


def write_list(servers: Iterable[tuple[str, str]]) -> bytes:
    """Return the body of a list: of each server its address and its record, empty for none."""
    entries = (
        f'{{"server":{json.dumps(address)},"record":{record or "null"}}}'
        for address, record in servers
    )
    return f'{{"v":1,"servers":[{",".join(entries)}]}}\n'.encode()


def read_list(headers: Mapping[str, str], body: bytes, dialect: Dialect) -> tuple[Listed, ...]:
    """Read the answer to a GET: the body if it has one of ours, else the header.

    Raises:
        ProtocolError: it has neither.
    """
    listed = headers.get(dialect.servers_header.lower())
    if VERSION_HEADER.lower() in headers and headers.get("content-type") == "application/json":
        return _read_body(body)
    if listed is None:
        raise ProtocolError(f"it answered without {dialect.servers_header}: no registry is there")
    return tuple(Listed(each.strip(), b"") for each in listed.split(",") if each.strip())


def _read_body(body: bytes) -> tuple[Listed, ...]:
    try:
        found: Any = json.loads(body)
        return tuple(
            Listed(_text(each["server"]), _record(each.get("record"))) for each in found["servers"]
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ProtocolError("its list cannot be read: no registry of ours wrote it") from None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(value)


def _record(value: object) -> bytes:
    return b"" if value is None else json.dumps(value).encode()
