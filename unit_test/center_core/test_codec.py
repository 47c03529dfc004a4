from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from center.core import messages
from center.core.ballot import Ballot, State
from center.core.codec import ITEMS_MAX, MESSAGE_BYTES_MAX, WIRE_VERSION, decode, encode
from center.core.messages import Body
from center.core.record import MapRecord
from libevrpc.errors import ProtocolError

MAP = MapRecord(3, 9, (2, 8), b"\x00\xff")
BODIES: list[Body] = [
    messages.Inquiry(12, "d", 1),
    messages.Introduction(99, True, 3, (2, 4), State.OBSERVING, None, 5, "d", 1),
    messages.Introduction(99, False, 3, (2, 4), State.LEADING, 0, 5, "d", 1),
    messages.Proposal(4, Ballot(1, 2, 3, 4), State.LOOKING, 0, 7, (1, 2), "d", 1),
    messages.Confirmation(5, False, (1, 2), "cluster", "d"),
    messages.Acceptance(5, 99, None, False, (1, 2), "d"),
    messages.Acceptance(5, 99, MAP, True, (3, 9), "d"),
    messages.Refusal(5, 6, 2),
    messages.Announcement(None, 5, State.LOOKING),
    messages.Join(5, (1, 2), "d"),
    messages.Ping(5, 77, (1, 2), (messages.Silent("10.0.0.1:80", 1.75),)),
    messages.Pong(5, 77, (1, 2)),
    messages.Put(5, "cluster", MAP),
    messages.Stored(5, (1, 2)),
    messages.Fetch((1, 2)),
    messages.Relay("cluster", MAP),
    messages.Forward(
        (messages.Report("10.0.0.1:80", ("a.B", "c.D"), 0.5, 2.0, True, ("x",), "s1"),),
        (messages.Departure("10.0.0.2:80", "s2", True),),
    ),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_every_message_comes_back_as_it_was(body: Body) -> None:
    assert decode(encode(7, 1 << 60, body)) == (7, 1 << 60, body)


def test_the_version_before_is_read_and_others_are_refused_by_name() -> None:
    fields = [3, 9, 5, 77, [1, 2]]
    pong = messages.Pong(5, 77, (1, 2))
    number = msgpack.unpackb(encode(3, 9, pong))[1]
    assert decode(msgpack.packb([WIRE_VERSION - 1, number, *fields]))[2] == pong
    with pytest.raises(ProtocolError, match="wire version"):
        decode(msgpack.packb([WIRE_VERSION + 1, number, *fields]))


def packed(body: Body, place: int, value: object) -> bytes:
    whole = msgpack.unpackb(encode(1, 2, body))
    whole[place] = value
    return bytes(msgpack.packb(whole))


@pytest.mark.parametrize(
    ("encoded", "complaint"),
    [
        (b"", "no msgpack"),
        (b"\xc1", "no msgpack"),
        (b"\x81\x90\x01", "no msgpack"),
        (b"\x01\x02", "no msgpack"),
        (msgpack.packb({"a": 1}), "no msgpack"),
        (msgpack.packb([1, 2, 3]), "no message"),
        (msgpack.packb([WIRE_VERSION, 999, 1, 2]), "number 999"),
        (msgpack.packb([WIRE_VERSION, 0, 1, 2]), "Inquiry does not have 3 fields"),
        (packed(BODIES[0], 2, -1), "a number is not"),
        (packed(BODIES[0], 2, True), "a number is not"),
        (packed(BODIES[0], 2, 1 << 63), "a number is not"),
        (packed(BODIES[0], 5, 7), "a text is no text"),
        (packed(BODIES[0], 5, "x" * 5000), "a text is no text"),
        (packed(BODIES[1], 5, 1), "a flag is neither"),
        (packed(BODIES[1], 7, [1]), "a stamp is not a pair"),
        (packed(BODIES[1], 8, 9), "9 is no state"),
        (packed(BODIES[3], 5, 4), "Ballot does not have"),
        (packed(BODIES[12], 6, [1, 2, [0, 0], "text"]), "a map is not bytes"),
        (packed(BODIES[10], 7, 1), "a list is no list"),
        (packed(BODIES[10], 7, [1] * (ITEMS_MAX + 1)), "no msgpack"),
        (packed(BODIES[10], 7, [["a", float("nan")]]), "a figure is not"),
        (packed(BODIES[10], 7, [["a", -1]]), "a figure is not"),
        (packed(BODIES[10], 7, [["a", "b"]]), "a figure is not"),
        (bytes(MESSAGE_BYTES_MAX + 1), "limit"),
    ],
)
def test_junk_is_refused_by_name(encoded: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        decode(encoded)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_one_named_error(junk: bytes) -> None:
    try:
        decode(junk)
    except ProtocolError:
        return


@given(st.sampled_from(BODIES), st.data())
def test_any_cut_and_any_flipped_byte_give_a_message_or_one_named_error(
    body: Body, choice: st.DataObject
) -> None:
    whole = bytearray(encode(1, 2, body))
    whole[choice.draw(st.integers(0, len(whole) - 1))] = choice.draw(st.integers(0, 255))
    cut = choice.draw(st.integers(0, len(whole)))
    for encoded in (bytes(whole), bytes(whole[:cut])):
        try:
            decode(encoded)
        except ProtocolError:
            continue
