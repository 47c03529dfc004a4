"""Calls to centers, for the reporter and the map cache: started here, answered by a queue."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from libevrpc.channel.background import acquire_loop, release_loop
from libevrpc.channel.call import ClientCall
from libevrpc.channel.channel import Channel
from libevrpc.channel.connection import ConnectionOptions
from libevrpc.channel.dial import DialTimes
from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import parse_endpoint
from libevrpc.core.hello import HELLO_FIELD, HELLO_VERSION, Hello
from libevrpc.core.prpc import WireLimits
from libevrpc.core.prpc_encode import RequestEncoder
from libevrpc.errors import ConfigError, Errno, StatusCode, status_of
from libevrpc.gen import center_pb2

__all__ = ["Barred", "CenterLink", "hint_of"]

SERVICE = center_pb2.DESCRIPTOR.services_by_name["Center"].full_name
CALLS_MAX = 64
UNSENT_BYTES_MAX = 1 << 20
CHANNELS_MAX = 64
"""Centers that are kept connected; the one used longest ago makes room."""
HELLO_TIMEOUT_MS = 30_000
_ZMTP_REPLY = f"message begins with {bytes((255, 0, 0, 0))!r}"
"""What the greeting of ZeroMQ, which centers speak to each other, looks like in an error."""


def hint_of(errno: int, text: str) -> str:
    """Return what an address seems to be instead of a center, in a word; empty: no idea."""
    if status_of(errno) is StatusCode.UNIMPLEMENTED:
        return "not a center"
    if _ZMTP_REPLY in text:
        return "this looks like the peer port: centers are asked at their client port"
    return ""


class Barred(str):
    """Why a center gave no answer, where that is our token."""

    __slots__ = ()


def _explained(errno: int, text: str) -> str:
    if errno == Errno.UNAUTHENTICATED:
        return Barred(text)
    hint = hint_of(errno, text)
    return f"{text}; {hint}" if hint else text


class CenterLink:
    """Connections to centers. One thread, but for what the background loop does.

    Answers come out of `events`, in the order they arrive, as (callback, parsed response or
    None, why there is none).
    """

    def __init__(self, on_lost: Callable[[str], object], token: bytes = b"") -> None:
        """Begin; `on_lost(center)` is put into `events` when a connection ends.

        `token` is shown to the centers; empty: none is.
        """
        self._on_lost = on_lost
        self.events: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._loop = acquire_loop()
        self._channels: dict[str, Channel] = {}
        self._encoders: dict[str, RequestEncoder] = {}
        self._options = ConnectionOptions(WireLimits(), CALLS_MAX, UNSENT_BYTES_MAX, token)
        self._times = DialTimes(resolve_s=1.0, connect_s=0.5)
        self._hello = Hello(HELLO_VERSION, HELLO_TIMEOUT_MS).field()

    def ask(
        self,
        center: str,
        method: str,
        request: Any,
        response_class: Any,
        timeout_s: float,
        on_answer: Callable[[Any, str], object],
    ) -> None:
        """Call a center; `events` later yields `on_answer(response, "")` or (None, why)."""

        def done(call: ClientCall) -> None:
            response, why = None, ""
            if call.failure is not None:
                why = _explained(call.failure.errno, call.failure.text)
            elif call.reply is not None and call.reply.error_code:
                why = _explained(call.reply.error_code, call.reply.error_text)
            elif call.reply is not None:
                try:
                    response = response_class.FromString(call.reply.payload)
                except DecodeError as exc:
                    why = f"{center}: unreadable answer: {exc}"
            self.events.put(lambda: on_answer(response, why))

        try:
            connection = self._channel(center).connection()
        except ConfigError as exc:
            text = str(exc)
            self.events.put(lambda: on_answer(None, text))
            return
        call = ClientCall(connection.next_id(), monotonic_s() + timeout_s, done)
        encoder = self._encoders.get(method)
        if encoder is None:
            encoder = self._encoders[method] = RequestEncoder(SERVICE, method)
        fields = None
        if connection.greet:
            connection.greet = False
            fields = {HELLO_FIELD: self._hello}
        frame = encoder.encode(
            call.correlation_id,
            request.SerializeToString(),
            timeout_ms=max(1, int(timeout_s * 1000.0)),
            user_fields=fields,
        )
        connection.start(call, frame)

    def _channel(self, center: str) -> Channel:
        channel = self._channels.pop(center, None)
        if channel is None:
            channel = Channel(
                parse_endpoint(center),
                self._loop,
                self._options,
                self._times,
                lambda: self.events.put(lambda: self._on_lost(center)),
            )
            if len(self._channels) >= CHANNELS_MAX:
                oldest = next(iter(self._channels))
                self._channels.pop(oldest).close("not used any more")
        self._channels[center] = channel  # at the end: used last
        return channel

    def close(self) -> None:
        """Close every connection. Once."""
        for channel in self._channels.values():
            channel.close("not used any more")
        release_loop()
