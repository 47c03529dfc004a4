"""Wires that answer in order: what follows a request waits for its answer, within bounds."""

from __future__ import annotations

from typing import Any

import pytest

from libevrpc.core.prpc import Broken, Event, Request
from libevrpc.core.prpc_events import HeldBack, Settled
from libevrpc.core.wires import (
    HELD_BYTES_MAX,
    BodyWriter,
    GuestRequest,
    Out,
    TurnReader,
    WireSwitch,
)
from libevrpc.errors import ProtocolError, RpcError
from unit_test.core.prpc_frames import SMALL, call, feed, field, frame
from unit_test.core.test_wires import WIRES, line, wire

PRPC = frame(call() + field(4, 7), b"body")


class Writer(BodyWriter):
    def reply(self, request: GuestRequest, encoded: object) -> Out:
        raise AssertionError("nothing is answered here")

    def error(self, request: GuestRequest, error: RpcError) -> Out:
        raise AssertionError("nothing is answered here")


class Turns:
    """Requests are `ASKx`; `ASK!` breaks the stream. Whatever else follows is another wire's."""

    def __init__(self) -> None:
        self._data = b""
        self._owed = False

    @property
    def partial(self) -> bool:
        return bool(self._data) and not self._owed

    @property
    def buffered_bytes(self) -> int:
        return len(self._data)

    @property
    def held_bytes(self) -> int:
        return len(self._data) if self._owed else 0

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        self._data += data
        return ([], None) if self._owed else self.answered()

    def answered(self) -> tuple[list[Event], bytes | None]:
        self._owed = False
        if not self._data.startswith(b"ASK"):
            rest, self._data = self._data, b""
            return [], rest
        if len(self._data) < 4:
            return [], None
        asked, self._data = self._data[3:4], self._data[4:]
        if asked == b"!":
            return [Broken(ProtocolError("asked to"))], None
        self._owed = True
        return [GuestRequest(Writer(), "Turns", asked.decode(), b"")], None


def switch() -> WireSwitch:
    turns = wire("turns", b"ASK")
    return WireSwitch(SMALL, (*WIRES, type(turns)("turns", False, turns.probe, Turns)))


def asked(events: list[Event]) -> list[str]:
    return [each.method if isinstance(each, Request) else type(each).__name__ for each in events]


def test_turns_are_taken_one_by_one_and_then_others_go_on() -> None:
    decoder = switch()
    assert isinstance(Turns(), TurnReader)
    assert decoder.answered() == []
    assert asked(decoder.receive_data(b"ASKaASKb" + PRPC + b"LINE1\nASKc")) == ["a"]
    assert not decoder.partial
    assert decoder.held_bytes == 4 + len(PRPC) + 6 + 4
    assert decoder.buffered_bytes == decoder.held_bytes
    assert asked(decoder.answered()) == ["b"]
    events = decoder.answered()
    assert asked(events) == ["C", "Dropped", "c"]
    assert decoder.answered() == []
    assert decoder.held_bytes == 0
    assert feed(decoder, [b"LINE2\n"]) == [line("line:LINE2")]


def test_a_turn_that_is_half_there_is_partial() -> None:
    decoder = switch()
    assert asked(decoder.receive_data(b"ASKaASK")) == ["a"]
    assert not decoder.partial
    assert decoder.answered() == []
    assert decoder.partial
    assert asked(decoder.receive_data(b"b")) == ["b"]


def test_more_than_the_bound_asks_for_a_pause_until_it_is_less() -> None:
    decoder = switch()
    many = b"ASKx" * (HELD_BYTES_MAX // 4 + 2)
    assert asked(decoder.receive_data(many)) == ["x", "HeldBack"]
    assert asked(decoder.receive_data(b"A")) == ["HeldBack"]
    assert decoder.answered()[1:] == [HeldBack()]
    assert asked(decoder.answered()) == ["x"]


@pytest.mark.parametrize("noise", [b"ASK!", b"what is this"])
def test_what_is_held_back_may_break_the_stream(noise: bytes) -> None:
    decoder = switch()
    assert asked(decoder.receive_data(b"ASKa" + noise + b"LINE1\n")) == ["a"]
    assert asked(decoder.answered()) == ["Broken"]
    assert decoder.answered() == []
    assert decoder.receive_data(b"LINE1\n") == []


class Entry:
    """A method whose bodies are numbers."""

    service, method = "Turns", "a"

    @staticmethod
    def decode(payload: bytes, content_type: int) -> Any:
        return int(payload) + content_type

    @staticmethod
    def encode(result: Any, content_type: int) -> bytes:
        return str(result + content_type).encode()


class Controller:
    response_attachment = b""


def test_bodies_go_by_their_content_type_and_attachments_nowhere() -> None:
    writer = Writer()
    request = GuestRequest(writer, "Turns", "a", b"41", content_type=1, extra="kept")
    assert (request.extra, request.token, request.barred) == ("kept", b"", "")
    assert writer.decode(Entry(), request) == 42
    assert writer.encode(Entry(), request, 41, None) == b"42"
    controller = Controller()
    assert writer.encode(Entry(), request, 41, controller) == b"42"
    controller.response_attachment = b"raw"
    with pytest.raises(RpcError, match="which only PRPC can carry"):
        writer.encode(Entry(), request, 41, controller)


class Parting(Turns):
    def farewell(self) -> bytes:
        return b"too slow"


def test_a_reader_may_have_last_words() -> None:
    turns = wire("turns", b"ASK")
    decoder = WireSwitch(SMALL, (type(turns)("turns", False, turns.probe, Parting),))
    assert decoder.farewell() == b""
    decoder.receive_data(b"ASKaASK")
    assert decoder.farewell() == b"too slow"
    quiet = switch()
    quiet.receive_data(b"ASKa")
    assert quiet.farewell() == b""


@pytest.mark.parametrize("first", [PRPC, b"LINE1\n", b"ASKa"])
def test_who_may_take_an_end_for_an_answer_is_known_by_the_first_message(first: bytes) -> None:
    turns = wire("turns", b"ASK")
    ends = type(turns)("turns", False, turns.probe, Turns, resets=True)
    decoder = WireSwitch(SMALL, (*WIRES, ends))
    assert decoder.may_read_as_answer
    assert decoder.receive_data(first[:2]) == []
    assert decoder.may_read_as_answer
    events = decoder.receive_data(first[2:] + PRPC)
    assert events.count(Settled()) == (first != b"ASKa")
    assert not decoder.may_read_as_answer
    assert not switch().may_read_as_answer
    assert Settled() not in switch().receive_data(first)
