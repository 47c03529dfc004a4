"""The `dns://` registry: the addresses of a name, asked for again and again.

Weights, tags and services are unknown to it, and nobody can announce himself. A name that does
not resolve any more keeps the last list: a resolver that is down looks like that too.
"""

from __future__ import annotations

import ipaddress
import socket
import threading

from libevrpc.core.endpoints import Endpoint
from libevrpc.core.targets import Target
from libevrpc.core.watching import WatchPolicy
from libevrpc.registry.session import Nap, RegistryError
from libevrpc.registry.state import state_folder
from libevrpc.registry.watcher import SessionResolver
from libevrpc.settings import ClientSettings

__all__ = ["DnsWatchSession", "resolver"]

EVERY_S = 30.0
"""How often the name is asked for."""
ANSWER_S = 5.0
"""How long an answer may take; the system's resolver itself knows no time-out of ours."""


def resolver(target: Target, service: str, settings: ClientSettings) -> SessionResolver:
    """Return the resolver of a `dns://` target."""
    endpoint = target.endpoints[0]
    policy = WatchPolicy(refresh_s=target.seconds("every", EVERY_S), settle_s=0.0)
    return SessionResolver(
        target.text,
        service,
        lambda: DnsWatchSession(endpoint.host, endpoint.port),
        state_folder(settings.state_dir),
        policy,
    )


def addresses_of(host: str) -> list[str]:
    """Return the IPv4 and IPv6 addresses of a name. Blocks for as long as the system likes.

    Raises:
        OSError: it has none, or nobody could tell.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]


class _Question:
    """One question, on a thread of its own: the system's resolver cannot be interrupted."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.done = Nap()
        self.answer: list[str] | OSError | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"libevrpc-resolve-{host}", daemon=True
        )

    def start(self) -> None:
        """Ask.

        Raises:
            RegistryError: the system has no more threads.
        """
        try:
            self._thread.start()
        except RuntimeError as exc:
            raise RegistryError(f"cannot resolve {self._host}: {exc}") from None

    def _run(self) -> None:
        try:
            self.answer = addresses_of(self._host)
        except (OSError, UnicodeError) as exc:
            self.answer = exc if isinstance(exc, OSError) else OSError(str(exc))
        self.done.wake()


class DnsWatchSession:
    """Asks for the addresses of one name. See `WatchSession`.

    Args:
        host: the name.
        port: of each server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._nap = Nap()
        self._question: _Question | None = None

    def open(self) -> None:
        """See `WatchSession.open`: there is nothing to connect to."""

    def fetch(self) -> tuple[Endpoint, ...]:
        """See `WatchSession.fetch`. One question at a time: a late answer serves the next one."""
        question = self._question
        if question is None:
            question = self._question = _Question(self._host)
            question.start()
        if question.answer is None:
            question.done.wait(ANSWER_S)
        if question.answer is None:
            raise RegistryError(f"cannot resolve {self._host}: no answer within {ANSWER_S:g} s")
        self._question = None
        if isinstance(question.answer, OSError):
            why = question.answer.strerror or str(question.answer)
            raise RegistryError(f"cannot resolve {self._host}: {why}")
        return self._endpoints(question.answer)

    def _endpoints(self, answer: list[str]) -> tuple[Endpoint, ...]:
        found = dict.fromkeys(_numeric(each) for each in answer)
        if not found:
            raise RegistryError(f"cannot resolve {self._host}: it has no address")
        return tuple(Endpoint(each, self._port) for each in found)

    def others(self) -> tuple[str, ...]:
        """See `WatchSession.others`: a name knows no services."""
        return ()

    def doubt(self) -> str:
        """See `WatchSession.doubt`."""
        return ""

    def wait(self, timeout_s: float) -> bool:
        """See `WatchSession.wait`: nobody tells of changes, the next question shows them."""
        self._nap.wait(timeout_s)
        return False

    def close(self) -> None:
        """See `WatchSession.close`. A question that is under way ends by itself."""

    def wake(self) -> None:
        """See `WatchSession.wake`."""
        self._nap.wake()
        question = self._question
        if question is not None:
            question.done.wake()


def _numeric(address: str) -> str:
    """Spell an address as endpoints do; the zone of a link-local one stays."""
    return ipaddress.ip_address(address).compressed
