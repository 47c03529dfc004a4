"""Dials: is anybody listening where a server said it listens?"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from center.core.events import DialOutcome, DialResult
from libevrpc.core.endpoints import Endpoint, parse_endpoint
from libevrpc.errors import ConfigError

__all__ = ["Dials", "dial"]

log = logging.getLogger(__name__)

DIAL_THREADS_MAX = 8
DIAL_TIMEOUT_S = 0.3
"""How long a port may take to answer; a machine that is alive refuses at once."""
HOLD_S = 0.1
"""A dying process may still accept what it is about to reset: a port is alive if the
connection outlives this."""
TRIES_MAX = 3
"""Dials until a port that hangs up at once counts as alive."""
_REFUSED = (errno.ECONNREFUSED, errno.ENOENT)


class Dials:
    """A few threads that dial; the node bounds how many dials wait. Any thread.

    Args:
        on_result: told the outcome, on a dial thread.
    """

    def __init__(self, on_result: Callable[[DialResult], object]) -> None:
        self._on_result = on_result
        self._pool = ThreadPoolExecutor(DIAL_THREADS_MAX, thread_name_prefix="center-dial")

    def dial(self, address: str) -> None:
        """Dial once, soon."""
        self._pool.submit(self._dial, address)

    def close(self) -> None:
        """Forget the dials that wait, end the threads. Once."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _dial(self, address: str) -> None:
        try:
            outcome = dial(parse_endpoint(address))
        except ConfigError as exc:
            log.warning("cannot dial %s: %s", address, exc)
            outcome = DialOutcome.TIMEOUT
        log.debug("dialled address=%s outcome=%s", address, outcome.value)
        self._on_result(DialResult(address, outcome))


def dial(endpoint: Endpoint) -> DialOutcome:
    """Try a port; only a refusal is proof. Blocks for less than a second, names for longer."""
    if endpoint.path:
        return _insist(socket.AF_UNIX, endpoint.path)
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError:
        return DialOutcome.TIMEOUT
    outcomes = {_insist(family, address) for family, _, _, _, address in found[:2]}
    return outcomes.pop() if len(outcomes) == 1 else DialOutcome.TIMEOUT


def _insist(family: socket.AddressFamily, address: Any) -> DialOutcome:
    """Dial again while somebody accepts only to hang up."""
    for _ in range(TRIES_MAX):
        outcome = _try(family, address)
        if outcome is not None:
            return outcome
    return DialOutcome.ACCEPTED


def _try(family: socket.AddressFamily, address: Any) -> DialOutcome | None:
    """Dial once; None: the connection stood, and broke at once."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(DIAL_TIMEOUT_S)
        try:
            sock.connect(address)
        except OSError as exc:
            return DialOutcome.REFUSED if exc.errno in _REFUSED else DialOutcome.TIMEOUT
        if family != socket.AF_UNIX and sock.getsockname() == sock.getpeername():
            return DialOutcome.REFUSED  # a free port of this machine was given to the dial itself
        sock.settimeout(HOLD_S)
        try:
            return None if not sock.recv(1) else DialOutcome.ACCEPTED
        except TimeoutError:
            return DialOutcome.ACCEPTED
        except OSError:
            return None
