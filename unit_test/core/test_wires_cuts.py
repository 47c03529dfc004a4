"""The seam at every cut: PRPC beside a sticky wire and one with several messages a piece."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.prpc import Broken, Dropped, Event, PrpcDecoder
from libevrpc.core.prpc_encode import encode_request
from libevrpc.core.wires import PROBE_BYTES_MAX, Probe, Wire, WireSwitch
from libevrpc.errors import ProtocolError
from unit_test.core.prpc_frames import CUTS, SMALL, cut, decode, feed, frame

PRPC = encode_request("a.B", "C", 7, b"body", timeout_ms=5)
OTHER = encode_request("x.Y", "Z", 8, b"more", timeout_ms=0, attachment=b"raw")
[REQUEST] = decode("server", PRPC)
[OTHER_REQUEST] = decode("server", OTHER)


class Counted:
    """Reads `toy:5;hello`: a message is `Dropped(its body)`, and other wires may follow."""

    def __init__(self) -> None:
        self._data = b""

    @property
    def partial(self) -> bool:
        return bool(self._data)

    @property
    def buffered_bytes(self) -> int:
        return len(self._data)

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        self._data += data
        events: list[Event] = []
        while probe_counted(self._data[:PROBE_BYTES_MAX]) is Probe.YES:
            head, _, rest = self._data[4:].partition(b";")
            if len(rest) < int(head):
                return events, None
            events.append(Dropped(rest[: int(head)].decode()))
            self._data = rest[int(head) :]
            if events[-1] == Dropped("die"):
                return [*events, Broken(ProtocolError("died"))], b""
        left, self._data = self._data, b""
        return events, left


class Lines:
    """Reads lines for ever: each is `Dropped(its text)`."""

    def __init__(self) -> None:
        self._data = b""

    @property
    def partial(self) -> bool:
        return bool(self._data)

    @property
    def buffered_bytes(self) -> int:
        return len(self._data)

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        *lines, self._data = (self._data + data).split(b"\n")
        return [Dropped(line.decode("latin-1")) for line in lines], None


def probe_counted(head: bytes) -> Probe:
    """Tell only by the first semicolon."""
    if not head.startswith(b"toy:"):
        return Probe.NO
    number, colon, _ = head[4:].partition(b";")
    if colon:
        return Probe.YES if number.isdigit() else Probe.NO
    return Probe.MORE if number.isdigit() or not number else Probe.NO


def probe_lines(head: bytes) -> Probe:
    return Probe.YES if head.startswith(b"{") else Probe.NO


COUNTED = Wire("counted", False, probe_counted, Counted)
LINES = Wire("lines", True, probe_lines, Lines)


def switch() -> WireSwitch:
    return WireSwitch(SMALL, (LINES, COUNTED))


def toy(body: bytes) -> bytes:
    return b"toy:%d;%b" % (len(body), body)


def dropped(text: str) -> tuple[object, ...]:
    return ("Dropped", text)


STREAMS = {
    "prpc alone": (PRPC + OTHER, [REQUEST, OTHER_REQUEST]),
    "alternating": (
        PRPC + toy(b"one") + toy(b"two") + OTHER + PRPC + toy(b"PRPC"),
        [REQUEST, dropped("one"), dropped("two"), OTHER_REQUEST, REQUEST, dropped("PRPC")],
    ),
    "alternating first": (toy(b"") + PRPC + toy(b"x"), [dropped(""), REQUEST, dropped("x")]),
    "sticky": (
        b'{"a":1}\nPRPC\ntoy:1;\n',
        [dropped('{"a":1}'), dropped("PRPC"), dropped("toy:1;")],
    ),
    "dropped frame, then a toy": (
        b"PRPC" + b"\0\0\0\x05" + b"\0\0\0\x09" + b"12345" + toy(b"x"),
        [dropped("meta of 9 bytes in a body of 5"), dropped("x")],
    ),
    "broken toy": (
        PRPC + toy(b"last") + toy(b"die") + PRPC,
        [REQUEST, dropped("last"), dropped("die"), ("Broken", "ProtocolError", "died")],
    ),
    "sticky too late": (
        PRPC + b'{"a":1}\n',
        [
            REQUEST,
            (
                "Broken",
                "ProtocolError",
                "message begins with b'{\"a\"', as none of PRPC, lines, counted does",
            ),
        ],
    ),
    "nobody's": (
        b"\xde\xad\xbe\xef" + PRPC,
        [
            (
                "Broken",
                "ProtocolError",
                r"message begins with b'\xde\xad\xbe\xef', as none of PRPC, lines, counted does",
            )
        ],
    ),
    "undecided, then nobody's": (
        PRPC + b"toy:12x;",
        [
            REQUEST,
            (
                "Broken",
                "ProtocolError",
                "message begins with b'toy:', as none of PRPC, lines, counted does",
            ),
        ],
    ),
}
EACH = pytest.mark.parametrize("name", STREAMS)


@EACH
def test_stream_in_one_piece(name: str) -> None:
    data, events = STREAMS[name]
    assert feed(switch(), [data]) == events


@EACH
def test_stream_byte_by_byte(name: str) -> None:
    data, events = STREAMS[name]
    assert feed(switch(), [bytes((each,)) for each in data]) == events


@EACH
def test_stream_split_at_every_byte(name: str) -> None:
    data, events = STREAMS[name]
    for at in range(len(data) + 1):
        assert feed(switch(), [data[:at], b"", data[at:], b""]) == events, at


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([PRPC, OTHER, toy(b"x"), toy(b"die"), b"{\n", b"toy:", b"PR"])), CUTS
)
def test_any_cut_of_any_wires_gives_the_same_events(pieces: list[bytes], at: list[int]) -> None:
    data = b"".join(pieces)
    assert feed(switch(), cut(data, at)) == feed(switch(), [data])


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([PRPC, OTHER, frame(b"\xff"), b"junk", b"P"]) | st.binary(max_size=9)),
    CUTS,
)
def test_without_further_wires_it_is_the_plain_decoder(pieces: list[bytes], at: list[int]) -> None:
    chunks = cut(b"".join(pieces), at)
    alone, plain = WireSwitch(SMALL), PrpcDecoder("server", SMALL)
    for chunk in chunks:
        assert feed(alone, [chunk]) == feed(plain, [chunk])
        assert (alone.partial, alone.buffered_bytes) == (plain.partial, plain.buffered_bytes)


@pytest.mark.parametrize(
    ("data", "buffered_bytes"),
    [
        (b"", 0),
        (b"PR", 2),
        (b"to", 2),
        (b"toy:", 4),
        (b"toy:3;ab", 8),
        (b"{half", 5),
        (b"{whole\n", 0),
        (PRPC, 0),
        (PRPC[:-1], len(PRPC) - 1),
        (PRPC + b"to", 2),
        (PRPC + b"toy:", 4),
        (PRPC + b"toy:3;ab", 8),
        (toy(b"x") + PRPC[:5], 5),
        (toy(b"die") + PRPC, 0),
    ],
)
def test_what_is_half_is_counted_whoever_reads_it(data: bytes, buffered_bytes: int) -> None:
    decoder = switch()
    decoder.receive_data(data)
    assert decoder.buffered_bytes == buffered_bytes
    assert decoder.partial == (buffered_bytes > 0)


def test_wire_that_takes_nothing_of_its_message_is_found_out() -> None:
    class Idle(Counted):
        def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
            return [], data

    decoder = WireSwitch(SMALL, (Wire("idle", False, lambda _: Probe.YES, Idle),))
    with pytest.raises(AssertionError, match="took nothing"):
        decoder.receive_data(b"anything")
