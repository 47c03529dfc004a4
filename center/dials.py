"""Dials: is anybody listening where a server said it listens?

Only the host that a report came from is dialled. Else whoever may report could have a center
knock at any port of any machine that it reaches, and learn from the map what was found there.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from center.core.events import DialOutcome, DialResult
from libevrpc.core.endpoints import Endpoint, parse_endpoint
from libevrpc.errors import ConfigError

__all__ = ["Dials", "dial", "same_host"]

log = logging.getLogger(__name__)

DIAL_THREADS_MAX = 8
DIAL_TIMEOUT_S = 0.3
"""How long a port may take to answer; a machine that is alive refuses at once."""
HOLD_S = 0.1
"""A dying process may still accept what it is about to reset: a port is alive if the
connection outlives this."""
PATIENT_S = 1.5
"""The same, as long as not many are asked. Linux closes what a killed process had open from the
highest descriptor down, so a listening socket mostly comes last, and on a busy machine late."""
PATIENT_MAX = 4
"""Most dials that hold so long at once; the other threads are for those behind them."""
TRIES_MAX = 3
"""Dials until a port that hangs up at once counts as alive."""
REPORTERS_MAX = 10_000
"""Addresses whose reporter is remembered, in each of two generations."""
_REFUSED = (errno.ECONNREFUSED, errno.ENOENT)


class Dials:
    """A few threads that dial; the node bounds how many dials wait. Any thread.

    Args:
        on_result: told the outcome, on a dial thread.
    """

    def __init__(self, on_result: Callable[[DialResult], object]) -> None:
        self._on_result = on_result
        self._pool = ThreadPoolExecutor(DIAL_THREADS_MAX, thread_name_prefix="center-dial")
        self._patient = threading.BoundedSemaphore(PATIENT_MAX)
        self._reporters: dict[str, str] = {}
        self._older: dict[str, str] = {}

    def reported(self, address: str, peer: str) -> None:
        """Note which connection, from host:port `peer`, reported `address` last."""
        reporters = self._reporters
        if address not in reporters and len(reporters) >= REPORTERS_MAX:
            self._older, self._reporters = reporters, {}
            reporters = self._reporters
        reporters[address] = peer

    def dial(self, address: str, session: str = "") -> None:
        """Dial once, soon; where that is not allowed the outcome is that of no answer."""
        self._pool.submit(self._dial, address, session)

    def close(self) -> None:
        """Forget the dials that wait, end the threads. Once."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _dial(self, address: str, session: str) -> None:
        peer = self._reporters.get(address) or self._older.get(address, "")
        reporter = peer.rpartition(":")[0].strip("[]")
        patient = self._patient.acquire(blocking=False)
        try:
            outcome = dial(parse_endpoint(address), reporter, PATIENT_S if patient else HOLD_S)
        except (ConfigError, OSError) as exc:  # OSError: no descriptor is free now
            log.warning("cannot dial %s: %s", address, exc)
            outcome = DialOutcome.TIMEOUT
        finally:
            if patient:
                self._patient.release()
        log.debug("dialled address=%s outcome=%s", address, outcome.value)
        self._on_result(DialResult(address, outcome, session))


def dial(endpoint: Endpoint, reporter: str, hold_s: float = HOLD_S) -> DialOutcome:
    """Try a port; only a refusal is proof. Blocks: names for as long as their look-up takes.

    Besides that, TRIES_MAX times DIAL_TIMEOUT_S and `hold_s` at most, for each of two addresses.

    Args:
        endpoint: where a server said it listens.
        reporter: the host that said so; no other one is dialled.
        hold_s: a port is alive if a connection to it outlives this.
    """
    if endpoint.path:  # a name in our own file system
        local = same_host(reporter, "127.0.0.1")
        return _insist(socket.AF_UNIX, endpoint.path, hold_s) if local else DialOutcome.TIMEOUT
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError:
        return DialOutcome.TIMEOUT
    own = [each for each in found if same_host(str(each[4][0]), reporter)]
    outcomes = {_insist(family, address, hold_s) for family, _, _, _, address in own[:2]}
    return outcomes.pop() if len(outcomes) == 1 else DialOutcome.TIMEOUT


def same_host(one: str, other: str) -> bool:
    """Tell whether two IP addresses are one host's: equal, or both loopback.

    An IPv4 address may be spelled as IPv6 has it. A name, and nothing, is no host's.
    """
    first, second = _plain(one), _plain(other)
    if first is None or second is None or first.is_unspecified:
        return False
    return first == second or (first.is_loopback and second.is_loopback)


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _insist(family: socket.AddressFamily, address: Any, hold_s: float) -> DialOutcome:
    """Dial again while somebody accepts only to hang up."""
    for _ in range(TRIES_MAX):
        outcome = _try(family, address, hold_s)
        if outcome is not None:
            return outcome
    return DialOutcome.ACCEPTED


def _try(family: socket.AddressFamily, address: Any, hold_s: float) -> DialOutcome | None:
    """Dial once; None: the connection stood, and broke at once."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(DIAL_TIMEOUT_S)
        try:
            sock.connect(address)
        except ConnectionResetError:
            return None  # it stood, and was over before we looked
        except OSError as exc:
            return DialOutcome.REFUSED if exc.errno in _REFUSED else DialOutcome.TIMEOUT
        # not by the peer's name: a connection that has been reset meanwhile has none
        if family != socket.AF_UNIX and sock.getsockname() == address:
            return DialOutcome.REFUSED  # a free port of this machine was given to the dial itself
        sock.settimeout(hold_s)
        try:
            return None if not sock.recv(1) else DialOutcome.ACCEPTED
        except TimeoutError:
            return DialOutcome.ACCEPTED
        except OSError:
            return None
