"""Two small wires for tests: requests are lines, `CALL` one at a time, `MANY` all at once.

A line is `CALL SERVICE.METHOD KEY=VALUE... : JSON`, keys `ms`, `token`, `close`, `field`. Answers
are `OK JSON` and `ERR NUMBER TEXT`. `CALL SAY text` is answered by the reader itself, `CALL BYE`
too, with an end; `CALL BREAK` breaks the stream.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from libevrpc.core.prpc_events import Broken, Event, Say
from libevrpc.core.wires import (
    BodyWriter,
    GuestRequest,
    Out,
    Probe,
    Wire,
)
from libevrpc.errors import ProtocolError, RpcError
from libevrpc.server import guests

CLOSE = "close"


class LineWriter(BodyWriter):
    """Answers in lines."""

    def reply(self, request: GuestRequest, encoded: object) -> Out:
        assert isinstance(encoded, bytes)
        if b"unwritable" in encoded:
            raise ValueError("as asked")
        return Out(b"OK " + encoded + b"\n", CLOSE in request.extra)

    def error(self, request: GuestRequest, error: RpcError) -> Out:
        return Out(f"ERR {error.errno} {error.text}\n".encode(), CLOSE in request.extra)


class ManyReader:
    """Reads on while calls run."""

    def __init__(self) -> None:
        self._data = b""
        self._writer = LineWriter()

    @property
    def partial(self) -> bool:
        return bool(self._data)

    @property
    def buffered_bytes(self) -> int:
        return len(self._data)

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        *lines, self._data = (self._data + data).split(b"\n")
        return [self.event(line) for line in lines], None

    def event(self, line: bytes) -> Event:
        head, _, payload = line.partition(b" : ")
        _, name, *words = head.decode().split(" ")
        if name == "SAY":
            return Say(f"SAID {' '.join(words)}\n".encode())
        if name == "BYE":
            return Say(b"BYE\n", close=True)
        if name == "BREAK":
            return Broken(ProtocolError("line broke"))
        service, _, method = name.rpartition(".")
        given: dict[str, Any] = dict(word.split("=") for word in words)
        return GuestRequest(
            self._writer,
            service,
            method,
            payload,
            content_type=1,
            timeout_ms=int(given.get("ms", 0)),
            user_fields={given["field"]: "1"} if "field" in given else None,
            token=given.get("token", "").encode(),
            extra=given,
        )


class CallReader(ManyReader):
    """Gives one request at a time.

    Attributes:
        peaks: the most bytes that each reader has held back.
    """

    peaks: ClassVar[list[int]] = []

    def __init__(self) -> None:
        super().__init__()
        self._owed = False
        self._number = len(self.peaks)
        self.peaks.append(0)

    @property
    def partial(self) -> bool:
        return bool(self._data) and not self._owed

    @property
    def held_bytes(self) -> int:
        return len(self._data) if self._owed else 0

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        self._data += data
        self.peaks[self._number] = max(self.peaks[self._number], self.held_bytes)
        return ([], None) if self._owed else self._next()

    def answered(self) -> tuple[list[Event], bytes | None]:
        assert self._owed
        self._owed = False
        return self._next()

    def _next(self) -> tuple[list[Event], bytes | None]:
        events: list[Event] = []
        while self._data.startswith(b"CALL") and b"\n" in self._data:
            line, _, self._data = self._data.partition(b"\n")
            events.append(self.event(line))
            if isinstance(events[-1], GuestRequest):
                self._owed = True
                return events, None
            if isinstance(events[-1], Broken):
                return events, None
        if self._data.startswith(b"CALL"):
            return events, None
        rest, self._data = self._data, b""
        return events, rest


def _wire(name: str, sticky: bool, reader: type[ManyReader]) -> Wire:
    def probe(head: bytes) -> Probe:
        return Probe.YES if head.startswith(name.encode()) else Probe.NO

    return Wire(name, sticky, probe, reader)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[guests.GuestContext]:
    """Let servers speak the two wires; gives what each server tells them of itself."""
    contexts: list[guests.GuestContext] = []

    def calls(context: guests.GuestContext) -> Wire:
        contexts.append(context)
        return _wire("CALL", False, CallReader)

    CallReader.peaks.clear()
    monkeypatch.setitem(guests.GUESTS, "CALL", guests.Guest(calls))
    many = guests.Guest(lambda _: _wire("MANY", True, ManyReader))
    monkeypatch.setitem(guests.GUESTS, "MANY", many)
    return contexts
