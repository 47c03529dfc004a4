"""The readers and writers of a server's wires, driven without a socket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from libevrpc import RpcError, RpcServer
from libevrpc.core.prpc import BadRequest, Broken, Dropped, Request, WireLimits
from libevrpc.core.wires import (
    GuestRequest,
    HeldBack,
    Out,
    Probe,
    Resets,
    Say,
    Settled,
    Wire,
    WireReader,
    WireSwitch,
)
from libevrpc.errors import Errno
from libevrpc.server.guests import GUESTS, Guest, GuestContext
from libevrpc.server.methods import Handling, MethodEntry, Missing

__all__ = ["Readers", "told"]

LIMITS = WireLimits(1 << 20, 64 * 1024, 1 << 20)
_HARMLESS = (Request, BadRequest, Dropped, HeldBack, Resets, Settled)
SLACK_BYTES = 4096
"""What a decoder may count beyond what it was given: copies of a name, a length."""


def told(server_of: Callable[[dict[str, Any]], RpcServer], names: Sequence[str]) -> GuestContext:
    """Return what a server tells its wires, the wires included.

    Args:
        server_of: makes the server with these settings and all its services.
        names: of the wires.
    """
    found: list[GuestContext] = []

    def look(context: GuestContext) -> Wire:
        found.append(context)
        return Wire("fuzz", False, lambda _: Probe.NO, _nobody)

    GUESTS["fuzz"] = Guest(look)
    try:
        server_of({"wires": (*names, "fuzz"), "body_bytes_max": LIMITS.body_bytes_max})
    finally:
        del GUESTS["fuzz"]
    return found[0]


def _nobody() -> WireReader:
    raise AssertionError("its probe has said no")


class Readers:
    """Feeds streams to fresh decoders, and answers what comes out of them.

    Args:
        context: what the server tells its wires.
    """

    def __init__(self, context: GuestContext) -> None:
        self._methods = context.methods()
        self._wires = tuple(context.wires.values())

    def run(self, pieces: Sequence[bytes]) -> int:
        """Read one connection's bytes; returns how many requests it made.

        Raises:
            AssertionError: something came out that must not.
        """
        decoder = WireSwitch(LIMITS, self._wires)
        given = requests = 0
        for piece in pieces:
            if not piece:
                continue
            given += len(piece)
            waiting = decoder.receive_data(piece)
            while waiting:
                event = waiting.pop(0)
                if isinstance(event, Broken):
                    return requests
                if isinstance(event, GuestRequest):
                    requests += 1
                    if not self._answer(event):
                        return requests
                    waiting += decoder.answered()
                elif isinstance(event, Say):
                    if event.close:
                        return requests
                else:
                    assert isinstance(event, _HARMLESS), event
                    requests += isinstance(event, Request)
            assert decoder.buffered_bytes <= given + SLACK_BYTES, decoder.buffered_bytes
        return requests

    def _answer(self, request: GuestRequest) -> bool:
        """Answer as a server would; False: the connection ends with it."""
        writer = request.writer
        encoded: Any
        try:
            entry = self._methods.find(request.service, request.method)
            if isinstance(entry, Missing):
                raise RpcError.from_errno(entry.errno, entry.text)
            if entry.internal:  # a session refuses it, as here: it is for PRPC alone
                raise RpcError.from_errno(Errno.NO_SERVICE, entry.service)
            arguments = writer.decode(entry, request)
            encoded = writer.encode(entry, request, self._called(entry, arguments), None)
        except RpcError as exc:
            encoded = exc
        if isinstance(encoded, RpcError):
            out = writer.error(request, encoded)
        else:
            out = writer.reply(request, encoded)
        assert isinstance(out, Out), out
        return not (out.close or out.reset)

    def _called(self, entry: MethodEntry, arguments: Any) -> Any:
        try:
            if entry.handling is Handling.REQUEST:
                return entry.handler(arguments)
            return entry.handler(arguments, None)
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:  # the handler's own
            raise RpcError.from_errno(2001, str(exc)) from exc
