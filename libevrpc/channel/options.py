"""What one connection may hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from libevrpc.core.prpc import WireLimits

__all__ = ["ConnectionOptions"]


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Limits of one connection; see `ClientSettings` for the meaning of each.

    `token` is what it shows to the server; empty: nothing.
    """

    limits: WireLimits
    calls_max: int
    unsent_bytes_max: int
    token: bytes = field(default=b"", repr=False)
