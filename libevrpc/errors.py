"""Every error libevrpc raises on purpose, and the numbers that travel on the wire.

Tree (who must act)::

    EvrpcError                root; catch this at the edge of a program
    +-- UsageError            you: the code or the command line is wrong
    |   +-- ConfigError       you: names file, line, key and what would be right
    +-- ProtocolError         the peer broke the wire format; its connection closes
    +-- RpcError              one call failed; says status, number and text

The numbers are those of brpc's errno.proto, so that C++ peers understand them.
Statuses that brpc has no number for travel as 4000 + the gRPC status code.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

__all__ = [
    "ConfigError",
    "Errno",
    "EvrpcError",
    "ProtocolError",
    "RpcError",
    "StatusCode",
    "UsageError",
    "errno_of",
    "status_of",
]

ERROR_TEXT_BYTES_MAX = 4096
"""Longest error text that travels on the wire, UTF-8 bytes; longer ones are cut."""


class StatusCode(IntEnum):
    """The 17 gRPC status codes: what a caller branches on."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Errno(IntEnum):
    """Error numbers of the wire (brpc's errno.proto), with our use of each."""

    OK = 0
    CANCELLED = 125
    NO_SERVICE = 1001
    NO_METHOD = 1002
    BAD_REQUEST = 1003
    UNAUTHENTICATED = 1004
    TOO_MANY_FAILS = 1005
    TIMED_OUT = 1008
    FAILED_SOCKET = 1009
    HTTP = 1010
    OVERCROWDED = 1011
    EOF = 1014
    TLS = 1016
    REJECTED = 1018
    INTERNAL = 2001
    BAD_RESPONSE = 2002
    STOPPING = 2003
    LIMIT = 2004
    CLOSED = 2005


STATUS_ERRNO_BASE = 4000
"""A status without a brpc number travels as this plus the status code."""

_STATUS_BY_ERRNO: Mapping[int, StatusCode] = {
    Errno.OK: StatusCode.OK,
    Errno.CANCELLED: StatusCode.CANCELLED,
    Errno.NO_SERVICE: StatusCode.UNIMPLEMENTED,
    Errno.NO_METHOD: StatusCode.UNIMPLEMENTED,
    Errno.BAD_REQUEST: StatusCode.INVALID_ARGUMENT,
    Errno.UNAUTHENTICATED: StatusCode.UNAUTHENTICATED,
    Errno.TOO_MANY_FAILS: StatusCode.ABORTED,
    Errno.TIMED_OUT: StatusCode.DEADLINE_EXCEEDED,
    Errno.FAILED_SOCKET: StatusCode.UNAVAILABLE,
    Errno.HTTP: StatusCode.UNKNOWN,
    Errno.OVERCROWDED: StatusCode.RESOURCE_EXHAUSTED,
    Errno.EOF: StatusCode.UNAVAILABLE,
    Errno.TLS: StatusCode.UNAVAILABLE,
    1017: StatusCode.UNAVAILABLE,
    Errno.REJECTED: StatusCode.UNAVAILABLE,
    1019: StatusCode.DEADLINE_EXCEEDED,
    Errno.INTERNAL: StatusCode.INTERNAL,
    Errno.BAD_RESPONSE: StatusCode.INTERNAL,
    Errno.STOPPING: StatusCode.UNAVAILABLE,
    Errno.LIMIT: StatusCode.RESOURCE_EXHAUSTED,
    Errno.CLOSED: StatusCode.UNAVAILABLE,
}

_ERRNO_BY_STATUS: Mapping[StatusCode, int] = {
    StatusCode.OK: Errno.OK,
    StatusCode.CANCELLED: Errno.CANCELLED,
    StatusCode.UNKNOWN: Errno.INTERNAL,
    StatusCode.INVALID_ARGUMENT: Errno.BAD_REQUEST,
    StatusCode.DEADLINE_EXCEEDED: Errno.TIMED_OUT,
    StatusCode.RESOURCE_EXHAUSTED: Errno.LIMIT,
    StatusCode.UNIMPLEMENTED: Errno.NO_METHOD,
    StatusCode.INTERNAL: Errno.INTERNAL,
    StatusCode.UNAVAILABLE: STATUS_ERRNO_BASE + StatusCode.UNAVAILABLE,
    StatusCode.UNAUTHENTICATED: Errno.UNAUTHENTICATED,
}

_SYSTEM_ERRNO_MAX = 133


def status_of(errno: int) -> StatusCode:
    """Return the status that a wire error number stands for. Any thread.

    System errno values (1..133) are UNAVAILABLE, but 125 is CANCELLED; numbers that
    nobody defined are application codes and read as UNKNOWN.
    """
    status = _STATUS_BY_ERRNO.get(errno)
    if status is not None:
        return status
    if STATUS_ERRNO_BASE < errno <= STATUS_ERRNO_BASE + StatusCode.UNAUTHENTICATED:
        return StatusCode(errno - STATUS_ERRNO_BASE)
    if 0 < errno <= _SYSTEM_ERRNO_MAX:
        return StatusCode.UNAVAILABLE
    if 2000 <= errno < 4000:
        return StatusCode.INTERNAL
    return StatusCode.UNKNOWN


def errno_of(status: StatusCode) -> int:
    """Return the wire error number that `status` travels as. Any thread."""
    errno = _ERRNO_BY_STATUS.get(status)
    return STATUS_ERRNO_BASE + status if errno is None else int(errno)


class EvrpcError(Exception):
    """Root of every error raised on purpose."""


class UsageError(EvrpcError):
    """The calling code is wrong: the text says what, and what would be right."""


class ConfigError(UsageError):
    """A configuration value, list line or command-line argument is wrong.

    The text is one line for the user: file, line and key where there are any, what
    was found, what would be right. Programs print it and exit with status 2.
    """


class ProtocolError(EvrpcError):
    """The peer broke the wire format; its connection is closed."""


class RpcError(EvrpcError):
    """One call failed.

    Attributes:
        code: gRPC status, the thing to branch on.
        errno: number on the wire (see `Errno`, or an application's own number).
        text: one line for a person.
        details: string metadata the server sent beside the error (user_fields).
    """

    def __init__(
        self,
        code: StatusCode,
        text: str,
        *,
        errno: int | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, text)  # what pickle makes it anew from
        self.code = code
        self.errno = errno_of(code) if errno is None else int(errno)
        self.text = text
        self.details: Mapping[str, str] = details or {}

    @classmethod
    def from_errno(
        cls, errno: int, text: str, details: Mapping[str, str] | None = None
    ) -> RpcError:
        """Build the error for a wire number; `grpc-status` in `details` refines the status."""
        code = status_of(errno)
        told = (details or {}).get("grpc-status", "")
        if told.isdecimal() and len(told) <= 2 and 0 < int(told) <= StatusCode.UNAUTHENTICATED:
            code = StatusCode(int(told))
        return cls(code, text, errno=errno, details=details)

    def __str__(self) -> str:
        return f"{self.code.name} ({self.errno}): {self.text}"
