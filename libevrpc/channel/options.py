"""What one connection may hold."""

from __future__ import annotations

from dataclasses import dataclass

from libevrpc.core.prpc import WireLimits

__all__ = ["ConnectionOptions"]


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Limits of one connection; see `ClientSettings` for the meaning of each."""

    limits: WireLimits
    calls_max: int
    unsent_bytes_max: int
