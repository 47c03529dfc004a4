"""What one connection of a server may ask for, taken from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from libevrpc.core.conn_timers import TimerLimits
from libevrpc.core.prpc import META_ROOM_BYTES, WireLimits
from libevrpc.core.wires import Wire
from libevrpc.server.door import Door
from libevrpc.settings import ServerSettings

__all__ = ["SessionLimits", "session_limits", "wire_limits"]


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one connection may ask for, and how; see `ServerSettings`.

    Attributes:
        reply_bytes_max: longest reply, with its attachment, that fits the limit for bodies.
    """

    wire: WireLimits
    reply_bytes_max: int
    timers: TimerLimits
    calls_max: int
    call_timeout_max_s: float
    client_timeout_s: float
    inline_warn_s: float
    door: Door | None = None
    wires: tuple[Wire, ...] = ()
    log_calls: bool = False

    @property
    def inflated_bytes_max(self) -> int:
        """Longest request after decompression."""
        return self.wire.inflated_bytes_max


def wire_limits(settings: ServerSettings) -> WireLimits:
    """Return how long the parts of one message may be."""
    return WireLimits(
        settings.body_bytes_max, settings.header_bytes_max, settings.inflated_bytes_max
    )


def session_limits(
    settings: ServerSettings, door: Door | None, wires: tuple[Wire, ...]
) -> SessionLimits:
    """Return what the settings of a server say about each of its connections."""
    return SessionLimits(
        wire=wire_limits(settings),
        reply_bytes_max=settings.body_bytes_max - META_ROOM_BYTES,
        timers=TimerLimits(
            handshake_s=settings.handshake_timeout_s,
            half_request_s=settings.half_request_timeout_s,
            idle_s=settings.idle_timeout_s,
            silence_s=settings.client_timeout_s,
            stalled_write_s=settings.stalled_write_timeout_s,
        ),
        calls_max=settings.calls_per_connection_max,
        call_timeout_max_s=settings.call_timeout_max_s,
        client_timeout_s=settings.client_timeout_s,
        inline_warn_s=settings.inline_warn_s,
        door=door,
        wires=wires,
        log_calls=settings.log_calls,
    )
