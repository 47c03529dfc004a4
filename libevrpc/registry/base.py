"""What every registry adapter offers to a server and to a client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from libevrpc.core.endpoints import EndpointSet
from libevrpc.errors import RpcError

__all__ = ["Announcement", "LoadSample", "Registrar", "Resolver"]


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a server says of itself.

    Attributes:
        address: what clients dial.
        services: full names of what it serves, sorted.
        weight: its share of the load beside other servers.
        tags: words that clients may choose servers by.
        limit: most calls that one client may have in flight here; 0: any number.
        methods: what the services offer, as ``pkg.Service/Method``, sorted; for registries that
            keep methods apart.
    """

    address: str
    services: tuple[str, ...]
    weight: float = 1.0
    tags: tuple[str, ...] = ()
    limit: int = 0
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadSample:
    """How busy a server is now.

    Attributes:
        utilisation: 0..1 since the previous sample, the worse of CPU and workers in use.
        cpu: 0..1 of the processors that this process can keep busy: one under the GIL.
        memory_bytes: resident.
        in_flight: calls admitted and not answered.
        qps: calls per second since the previous sample.
        connections: open ones.
    """

    utilisation: float
    cpu: float
    memory_bytes: int
    in_flight: int
    qps: float
    connections: int


class Registrar(Protocol):
    """The server's side of a registry. Methods: any thread, one at a time."""

    def start(self, announcement: Announcement, sample: Callable[[], LoadSample]) -> None:
        """Announce, and keep the announcement alive; never blocks for the registry.

        `sample` is called on the registrar's own thread, about once a second, where the registry
        has a use for loads.
        """

    def update(self, announcement: Announcement) -> None:
        """Announce something new: a service more, another weight. Never the address."""

    def withdraw(self, timeout_s: float) -> bool:
        """Say goodbye and wait for the registry to hear it; False if it did not in time."""

    def close(self) -> None:
        """End the registrar's thread. Without `withdraw` the announcement expires."""


class Resolver(Protocol):
    """The client's side of a registry."""

    def start(self, on_update: Callable[[EndpointSet], object]) -> None:
        """Tell `on_update` now and whenever the set changes; it must not block.

        Called at once with what is known already (a list, a remembered map), else on the
        resolver's own thread. What is only `remembered` is told again when the registry has
        confirmed it. Never told: an empty set because the registry is down.
        """

    def trouble(self) -> RpcError | None:
        """Return why nobody can be called, as far as the registry knows; None: it does not.

        Any thread, at any time after `start`.
        """

    def close(self) -> None:
        """Stop telling. Once."""
