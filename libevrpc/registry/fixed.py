"""A fixed set of endpoints: `host:port`, `unix://` and `list://` targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from libevrpc.core.endpoints import Endpoint, EndpointSet

__all__ = ["FixedResolver"]


class FixedResolver:
    """Tells its endpoints once. See `Resolver`."""

    __slots__ = ("_endpoints",)

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = EndpointSet(tuple(endpoints))

    def start(self, on_update: Callable[[EndpointSet], object]) -> None:
        """See `Resolver.start`."""
        on_update(self._endpoints)

    def close(self) -> None:
        """See `Resolver.close`."""
