"""Several protocols on one port: who reads which message, and what it costs PRPC."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.prpc import Broken, Dropped, Event, WireLimits
from libevrpc.core.wires import PROBE_BYTES_MAX, Probe, Wire, WireSwitch
from libevrpc.errors import ProtocolError
from unit_test.core.prpc_frames import CUTS, SMALL, call, cut, decode, feed, field, frame, plain

PRPC = frame(call() + field(4, 7), b"body")
[REQUEST] = decode("server", PRPC)


class LineReader:
    """Reads lines; each becomes an event. `!` breaks it."""

    def __init__(self, name: str, sticky: bool) -> None:
        self.name = name
        self.sticky = sticky
        self.held = b""

    @property
    def partial(self) -> bool:
        return bool(self.held)

    @property
    def buffered_bytes(self) -> int:
        return len(self.held)

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        events: list[Event] = []
        data, self.held = self.held + data, b""
        while True:
            line, end, data = data.partition(b"\n")
            if b"!" in line:
                return [*events, Broken(ProtocolError(f"{self.name} broke"))], None
            if not end:
                self.held = line
                return events, None if line or self.sticky else b""
            events.append(Dropped(f"{self.name}:{line.decode('latin-1')}"))
            if not self.sticky:
                return events, data


def wire(name: str, start: bytes, *, sticky: bool = False) -> Wire:
    def probe(head: bytes) -> Probe:
        if head.startswith(start):
            return Probe.YES
        return Probe.MORE if start.startswith(head) else Probe.NO

    return Wire(name, sticky, probe, lambda: LineReader(name, sticky))


WIRES = (wire("line", b"LINE"), wire("long", b"LONGER:"), wire("keep", b"KEEP:", sticky=True))


def switch() -> WireSwitch:
    return WireSwitch(SMALL, WIRES)


def line(text: str) -> tuple[object, ...]:
    return plain(Dropped(text))


def test_wires_alternate_at_message_boundaries() -> None:
    data = b"LINE1\n" + PRPC + PRPC + b"LONGER:2\n" + b"LINE3\n" + PRPC
    wanted = [line("line:LINE1"), REQUEST, REQUEST, line("long:LONGER:2"), line("line:LINE3")]
    assert feed(switch(), [data]) == [*wanted, REQUEST]
    assert feed(switch(), [bytes((each,)) for each in data]) == [*wanted, REQUEST]


DROPPED = b"PRPC" + b"\0\0\0\x05" + b"\0\0\0\x09" + b"12345"
WHOLE = [PRPC, DROPPED, b"LINE1\n", b"LONGER:2\n", b"KEEP:3\n", b"LINE!\n"]
MESSAGES = st.sampled_from([*WHOLE, b"LO", b"PRPC", b"LINE", b"what", b"\n"])


@settings(max_examples=400)
@given(st.lists(MESSAGES, max_size=7).map(b"".join), CUTS)
def test_any_cut_gives_the_same_events(data: bytes, at: list[int]) -> None:
    decoder = switch()
    received_bytes = 0
    events = []
    for chunk in cut(data, at):
        received_bytes += len(chunk)
        events += feed(decoder, [chunk])
        assert decoder.buffered_bytes <= received_bytes
        if decoder.buffered_bytes:
            assert decoder.partial
    assert events == feed(switch(), [data])


@settings(max_examples=200)
@given(st.binary(max_size=200), CUTS)
def test_without_other_wires_it_is_the_prpc_decoder(data: bytes, at: list[int]) -> None:
    told = feed(WireSwitch(SMALL), cut(PRPC + data, at))
    wanted = decode("server", PRPC + data)
    assert [event[:2] for event in told] == [event[:2] for event in wanted]


def test_many_messages_in_one_piece_do_not_nest() -> None:
    count = 3000
    events = switch().receive_data((b"LINE1\n" + PRPC) * count)
    assert len(events) == 2 * count


def test_sticky_wire_keeps_its_connection() -> None:
    decoder = switch()
    assert feed(decoder, [b"KE", b"EP:1\n", b"PRPC\0"]) == [line("keep:KEEP:1")]
    assert decoder.partial
    assert decoder.buffered_bytes == 5
    assert feed(decoder, [b"\nLINE"]) == [line("keep:PRPC\0")]


def test_sticky_wire_between_its_messages_is_not_in_the_middle_of_one() -> None:
    decoder = switch()
    feed(decoder, [b"KEEP:1\n"])
    assert not decoder.partial


@pytest.mark.parametrize("first", [PRPC, b"LINE1\n"])
def test_sticky_wire_cannot_begin_later(first: bytes) -> None:
    events = feed(switch(), [first, b"KEEP:1\n"])
    assert events[-1][0] == "Broken"


def test_what_no_wire_knows_ends_the_stream_by_name() -> None:
    decoder = switch()
    [event] = feed(decoder, [b"what is this"])
    text = "message begins with b'what', as none of PRPC, line, long, keep does"
    assert event == ("Broken", "ProtocolError", text)
    assert feed(decoder, [PRPC]) == []


def test_undecided_head_is_kept_and_bounded() -> None:
    slow = Wire("slow", False, lambda head: Probe.MORE, lambda: LineReader("slow", False))
    decoder = WireSwitch(SMALL, (slow,))
    assert feed(decoder, [b"x" * (PROBE_BYTES_MAX - 1)]) == []
    assert decoder.buffered_bytes == PROBE_BYTES_MAX - 1
    assert decoder.partial
    assert feed(decoder, [b"x"])[0][0] == "Broken"


def test_a_later_yes_beats_an_earlier_more() -> None:
    slow = Wire("slow", False, lambda head: Probe.MORE, lambda: LineReader("slow", False))
    assert feed(WireSwitch(SMALL, (slow, *WIRES)), [b"LINE1\n"]) == [line("line:LINE1")]


def test_error_of_a_wire_ends_the_stream() -> None:
    decoder = switch()
    events = feed(decoder, [b"LINE1\nLINE", b"2!\n", PRPC])
    assert events == [line("line:LINE1"), ("Broken", "ProtocolError", "line broke")]


def test_reader_of_a_wire_is_made_once_a_connection() -> None:
    made: list[LineReader] = []

    def opened() -> LineReader:
        made.append(LineReader("line", False))
        return made[-1]

    counted = Wire("line", False, WIRES[0].probe, opened)
    decoder = WireSwitch(WireLimits(), (counted,))
    feed(decoder, [b"LINE1\n", PRPC, b"LINE2\n"])
    assert len(made) == 1
    assert not decoder.partial
