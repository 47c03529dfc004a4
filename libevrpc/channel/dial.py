"""Open a socket to an endpoint: resolve the name, try every address, keep the deadline.

Runs on short-lived threads of its own, never on a loop: resolving a name blocks for as
long as the system's resolver likes.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from libevrpc.channel.call import CallFailure
from libevrpc.core.endpoints import Endpoint
from libevrpc.errors import Errno
from libevrpc.loop.transport import tune_socket

__all__ = [
    "Address",
    "DialTimes",
    "cannot_connect",
    "dial",
    "dial_in_background",
    "met_itself",
    "numeric_address",
]

_ADDRESSES_MAX = 16
"""Addresses tried for one name."""
_RESOLVERS_MAX = 32
"""Names being resolved at once; more fail at once instead of piling up threads."""

_resolving = threading.BoundedSemaphore(_RESOLVERS_MAX)


def _in_child() -> None:
    """Count afresh: the parent's resolvers do not run here, and one may hold the lock."""
    global _resolving
    _resolving = threading.BoundedSemaphore(_RESOLVERS_MAX)


os.register_at_fork(after_in_child=_in_child)

Address = tuple[socket.AddressFamily, Any]
"""What a socket connects to: its family, and the address as that family writes it."""


@dataclass(frozen=True, slots=True)
class DialTimes:
    """How long the parts may take, in seconds: the name, and all its addresses; and both."""

    resolve_s: float
    connect_s: float
    both_s: float = math.inf


def dial(endpoint: Endpoint, times: DialTimes) -> socket.socket | CallFailure:
    """Connect to `endpoint`; blocks for at most both times. Any thread but a loop's.

    Returns a connected, tuned socket, or why there is none (nothing was sent).
    """
    by_s = time.monotonic() + times.both_s
    try:
        addresses = _addresses(endpoint, min(times.resolve_s, times.both_s))
    except OSError as exc:
        text = f"{endpoint.address}: cannot resolve: {exc.strerror or exc}"
        return CallFailure(Errno.FAILED_SOCKET, text, sent=False)
    until_s = min(by_s, time.monotonic() + times.connect_s)
    last: OSError = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    for position, (family, address) in enumerate(addresses):
        left = len(addresses) - position
        share_s = (until_s - time.monotonic()) / left  # a dead address must not use up the rest
        if share_s <= 0.0:
            break
        try:
            return _connect(family, address, share_s)
        except OSError as exc:
            last = exc
    return cannot_connect(endpoint, last.errno or errno.ETIMEDOUT)


def cannot_connect(endpoint: Endpoint, number: int) -> CallFailure:
    """Return the failure of a dial that ended with the system's errno `number`. Any thread."""
    text = f"{endpoint.address}: cannot connect: {os.strerror(number)}"
    return CallFailure(number, text, sent=False)


def numeric_address(endpoint: Endpoint) -> Address | None:
    """Return the one address of an endpoint that has no name; None: it has. Any thread."""
    if endpoint.path:
        return socket.AF_UNIX, endpoint.path
    found = _lookup(endpoint, socket.AI_NUMERICHOST)
    return found[0] if found else None


def met_itself(sock: socket.socket) -> bool:
    """True where the system gave a connecting socket the very port that it dials: it is its own
    peer then, nobody answers, and whose port that is cannot listen on it again. Any thread.
    """
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:  # it has been reset already
        return False


def dial_in_background(
    endpoint: Endpoint,
    times: DialTimes,
    on_done: Callable[[socket.socket | CallFailure], object],
) -> None:
    """Dial on a thread of its own, which then calls `on_done`. Any thread.

    Where the system has no more threads, `on_done` is told so at once.
    """

    def work() -> None:
        on_done(dial(endpoint, times))

    thread = threading.Thread(target=work, name=f"libevrpc-dial-{endpoint.address}", daemon=True)
    try:
        thread.start()
    except RuntimeError as exc:
        on_done(CallFailure(errno.EAGAIN, f"{endpoint.address}: cannot dial: {exc}", sent=False))


def _connect(family: socket.AddressFamily, address: Any, timeout_s: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        try:
            sock.connect(address)
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
        if met_itself(sock):
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        tune_socket(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _addresses(endpoint: Endpoint, timeout_s: float) -> Sequence[Address]:
    if endpoint.path:
        return [(socket.AF_UNIX, endpoint.path)]
    numeric = _lookup(endpoint, socket.AI_NUMERICHOST)
    return numeric or _resolve(endpoint, timeout_s)


def _lookup(endpoint: Endpoint, flags: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=flags
        )
    except socket.gaierror:
        if flags & socket.AI_NUMERICHOST:
            return []
        raise
    return [(family, address) for family, _, _, _, address in found[:_ADDRESSES_MAX]]


def _resolve(endpoint: Endpoint, timeout_s: float) -> Sequence[Address]:
    """Ask the system's resolver, which knows no time-out, on a thread that may outlive us."""
    resolving = _resolving
    if not resolving.acquire(blocking=False):
        raise OSError(errno.EAGAIN, f"{_RESOLVERS_MAX} names are being resolved already")
    found: list[list[Address] | OSError] = []
    ready = threading.Event()

    def work() -> None:
        try:
            found.append(_lookup(endpoint, 0))
        except OSError as exc:
            found.append(exc)
        finally:
            resolving.release()
            ready.set()

    thread = threading.Thread(target=work, name=f"libevrpc-resolve-{endpoint.host}", daemon=True)
    try:
        thread.start()
    except RuntimeError as exc:
        resolving.release()
        raise OSError(errno.EAGAIN, str(exc)) from None
    if not ready.wait(timeout_s):
        raise OSError(errno.ETIMEDOUT, f"no answer within {timeout_s:g} s")
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]
