"""A fixed set of endpoints: `host:port`, `unix://` and `list://` targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from libevrpc.core.endpoints import Endpoint, EndpointSet
from libevrpc.errors import RpcError

__all__ = ["FixedResolver"]


class FixedResolver:
    """Tells its endpoints once. See `Resolver`."""

    __slots__ = ("_endpoints",)

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = EndpointSet(tuple(endpoints))

    def start(self, on_update: Callable[[EndpointSet], object]) -> None:
        """See `Resolver.start`."""
        on_update(self._endpoints)

    def trouble(self) -> RpcError | None:
        """See `Resolver.trouble`: a list knows nothing of its servers."""
        return None

    def close(self) -> None:
        """See `Resolver.close`."""
