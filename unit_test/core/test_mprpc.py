"""mprpc's bytes: the sheet's example, every cut, lies about sizes, and whose they are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.mprpc import (
    HEADER_BYTES_MAX,
    MprpcReader,
    MprpcWriter,
    Order,
    encode_request,
    mprpc_wire,
)
from libevrpc.core.prpc_encode import encode_request as encode_prpc
from libevrpc.core.prpc_events import Broken, Dropped, Event, Resets, WireLimits
from libevrpc.core.wires import GuestRequest, Out, Probe, TurnReader, WireSwitch
from libevrpc.errors import Errno, RpcError
from libevrpc.gen.mprpc_pb2 import MprpcHeader
from unit_test.core.golden import golden
from unit_test.core.prpc_frames import CUTS, SMALL, cut

LOGIN = golden("mprpc/request_login.hex")
LOGIN_BE = golden("mprpc/request_login_be.hex")
ARGS = bytes.fromhex("0a097a68616e672073616e1206313233343536")
ORDERS = st.sampled_from(["little", "big"])


class Told:
    """Notes the errors that a writer was given."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, int]] = []

    def __call__(self, request: GuestRequest, error: RpcError) -> None:
        self.errors.append((f"{request.service}.{request.method}", error.errno))


def switch(order: Order = "little", limits: WireLimits = SMALL) -> WireSwitch:
    return WireSwitch(limits, (mprpc_wire("mprpc", order, limits, Told()),))


def reader(order: Order = "little") -> MprpcReader:
    return MprpcReader(order, SMALL, MprpcWriter(order, Told()))


def shown(events: list[Event]) -> list[object]:
    """Return what can be compared of events."""
    return [
        (each.service, each.method, each.payload) if isinstance(each, GuestRequest) else
        str(each.error) if isinstance(each, Broken) else each
        for each in events
    ]  # fmt: skip


CALL = ("UserServiceRpc", "Login", ARGS)


def test_the_sheets_example_is_what_we_write_and_read() -> None:
    assert encode_request("UserServiceRpc", "Login", ARGS) == LOGIN
    assert encode_request("fixbug.UserServiceRpc", "Login", ARGS) == LOGIN
    assert encode_request("fixbug.UserServiceRpc", "Login", ARGS, "big") == LOGIN_BE
    assert shown(switch().receive_data(LOGIN)) == [Resets(), CALL]
    assert shown(switch("big").receive_data(LOGIN_BE)) == [Resets(), CALL]


@settings(max_examples=200)
@given(CUTS, st.binary(max_size=40), ORDERS)
def test_a_request_may_be_cut_and_followed_by_anything(
    at: list[int], more: bytes, order: Order
) -> None:
    data = encode_request("UserServiceRpc", "Login", ARGS, order)
    decoder = switch(order)
    events: list[Event] = []
    for chunk in cut(data, at):
        assert decoder.buffered_bytes <= len(data)
        events += decoder.receive_data(chunk)
    assert shown(events) == [Resets(), CALL]
    assert not decoder.partial
    assert decoder.receive_data(more) == []
    if order == "little":  # one call a connection: the rest is nobody's
        assert decoder.buffered_bytes == 0
        assert decoder.answered() == []
        assert decoder.receive_data(data) == []


def test_what_is_glued_to_a_request_is_named_once() -> None:
    decoder = switch()
    assert shown(decoder.receive_data(LOGIN + LOGIN)) == [
        Resets(),
        CALL,
        Dropped(f"{len(LOGIN)} bytes behind the request of an mprpc connection"),
    ]


def test_the_variant_takes_requests_in_their_turn() -> None:
    decoder = switch("big")
    assert shown(decoder.receive_data(LOGIN_BE * 2 + LOGIN_BE[:5])) == [Resets(), CALL]
    assert decoder.held_bytes == len(LOGIN_BE) + 5
    assert not decoder.partial
    assert shown(decoder.answered()) == [CALL]
    assert decoder.answered() == []
    assert decoder.partial
    assert decoder.held_bytes == 0
    assert shown(decoder.receive_data(LOGIN_BE[5:])) == [CALL]


def test_readers_wait_for_answers() -> None:
    assert isinstance(reader(), TurnReader)
    quiet = reader()
    quiet.receive(LOGIN[:10])
    assert quiet.partial
    quiet.receive(LOGIN[10 : len(LOGIN) - 3])
    assert quiet.partial
    assert quiet.held_bytes == 0


def header(service: bytes, method: bytes, args_bytes: int) -> bytes:
    data = MprpcHeader(service_name=service, method_name=method, args_size=args_bytes)
    encoded: bytes = data.SerializeToString()
    return len(encoded).to_bytes(4, "little") + encoded


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x04\0\0\0\x0a\xff\xff\xff", "header cannot be decoded"),
        (header(b"UserServiceRpc", b"", 3), "header lacks the name of service or method"),
        (b"\x05\0\0\0\x0a\x00\x12\x01L", "header lacks the name of service or method"),
        (header(b"\xff\xfe", b"Login", 0), "name of service or method is not UTF-8"),
        (header(b"U", b"L", SMALL.body_bytes_max + 1), "arguments of "),
        (header(b"U", b"L", 4294967295), "arguments of 4294967295 bytes, limit "),
    ],
)
def test_lies_end_the_connection_by_name(data: bytes, text: str) -> None:
    decoder = switch()
    events = shown(decoder.receive_data(data))
    assert events[0] == Resets()
    assert str(events[1]).startswith(f"mprpc: {text}")
    assert decoder.receive_data(LOGIN) == []


def test_a_second_header_may_be_wrong_too() -> None:
    decoder = switch("big")
    decoder.receive_data(LOGIN_BE + b"\0\0\x04\x01\x0a")
    [event] = decoder.answered()
    assert isinstance(event, Broken)
    assert str(event.error) == f"mprpc: header of {1025} bytes; 4 to {HEADER_BYTES_MAX} are right"
    assert decoder.answered() == []


def test_names_that_fit_no_header_are_refused() -> None:
    with pytest.raises(RpcError, match="names too long") as caught:
        encode_request("S" * HEADER_BYTES_MAX, "M", b"")
    assert caught.value.errno == Errno.BAD_REQUEST
    whole = encode_request("S" * 1000, "M", b"")
    assert shown(switch().receive_data(whole)) == [Resets(), ("S" * 1000, "M", b"")]


@pytest.mark.parametrize("order", ["little", "big"])
def test_replies_are_bare_or_have_a_length(order: Order) -> None:
    told = Told()
    writer = MprpcWriter(order, told)
    request = GuestRequest(writer, "UserServiceRpc", "Login", ARGS)
    reply = golden("mprpc/reply_success.hex")
    if order == "little":
        assert writer.reply(request, reply) == Out(reply, close=True)
        assert writer.reply(request, b"") == Out(b"", close=True)
    else:
        assert writer.reply(request, reply) == Out(golden("mprpc/reply_success_be.hex"))
    assert writer.error(request, RpcError.from_errno(1002, "no such")) == Out(b"", reset=True)
    assert told.errors == [("UserServiceRpc.Login", 1002)]


@settings(max_examples=300)
@given(st.binary(max_size=200), CUTS, ORDERS)
def test_noise_breaks_nothing_else(noise: bytes, at: list[int], order: Order) -> None:
    decoder = switch(order)
    start = encode_request("UserServiceRpc", "Login", ARGS, order)[:6]
    received = 0
    for chunk in cut(start + noise, at):
        received += len(chunk)
        for event in decoder.receive_data(chunk):
            assert isinstance(event, GuestRequest | Broken | Resets | Dropped)
        assert decoder.buffered_bytes <= received


OTHERS = st.one_of(
    st.builds(
        encode_prpc,
        st.text(min_size=1, max_size=20),
        st.text(min_size=1, max_size=20),
        st.integers(1, 1 << 40),
        st.binary(max_size=20),
        timeout_ms=st.integers(0, 5000),
    ),
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "PRI"]).map(
        lambda word: f"{word} * HTTP/1.1\r\n".encode()
    ),
    st.sampled_from(
        [b'{"MagicNumber":3927900,', b'{ "MagicNumber"', b"{\r\n  ", b"STRM\0\0\0\x08"]
    ),
)


@settings(max_examples=400)
@given(OTHERS, st.integers(4, 64), ORDERS)
def test_no_other_protocols_bytes_are_taken_for_mprpc(data: bytes, size: int, order: Order) -> None:
    wire = mprpc_wire("mprpc", order, SMALL, Told())
    assert wire.probe(data[:size]) is Probe.NO


@settings(max_examples=300)
@given(
    st.text(st.characters(codec="ascii", exclude_characters=".\0"), min_size=1, max_size=60),
    st.text(min_size=1, max_size=60),
    st.binary(max_size=60),
    ORDERS,
)
def test_every_request_is_known_by_its_first_five_bytes(
    service: str, method: str, args: bytes, order: Order
) -> None:
    data = encode_request(service, method, args, order)
    other: Order = "big" if order == "little" else "little"
    wire = mprpc_wire("mprpc", order, SMALL, Told())
    assert wire.sticky
    assert wire.probe(data[:4]) is Probe.MORE
    assert wire.probe(data[:5]) is Probe.YES
    assert mprpc_wire("other", other, SMALL, Told()).probe(data[:64]) is Probe.NO
    assert shown(switch(order).receive_data(data)) == [Resets(), (service, method, args)]
