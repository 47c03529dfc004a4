"""The dispatch rules and limits of a PRPC decoder, one claim a test."""

from __future__ import annotations

import tracemalloc

import pytest

from libevrpc.core import prpc
from libevrpc.core.prpc import BadRequest, Broken, Dropped, PrpcDecoder, Reply, Request, WireLimits
from libevrpc.core.prpc_encode import encode_error, encode_reply, encode_request
from libevrpc.errors import Errno, ProtocolError
from unit_test.core.prpc_frames import SMALL, call, decode, feed, field, frame

ID_7 = field(4, 7)
USUAL = frame(call() + ID_7, b"body")


def server() -> PrpcDecoder:
    return PrpcDecoder("server", SMALL)


def client() -> PrpcDecoder:
    return PrpcDecoder("client", SMALL)


def only(decoder: PrpcDecoder, data: bytes) -> object:
    [event] = decoder.receive_data(data)
    return event


# -- requests ---------------------------------------------------------------------------


def test_request_has_all_that_was_sent() -> None:
    data = encode_request(
        "pkg.Svc", "Do", -5, b"load", timeout_ms=77, attachment=b"raw", compress_type=2,
        content_type=1001, user_fields={"a": "b", "ü": "ß"}, log_id=9, checksum=True,
    )  # fmt: skip
    request = only(server(), data)
    assert isinstance(request, Request)
    assert (request.service, request.method, request.correlation_id) == ("pkg.Svc", "Do", -5)
    assert (request.payload, request.attachment) == (b"load", b"raw")
    assert (request.timeout_ms, request.log_id) == (77, 9)
    assert (request.compress_type, request.content_type) == (2, 1001)
    assert request.user_fields == {"a": "b", "ü": "ß"}


def test_the_same_call_reads_the_same_from_memory() -> None:
    decoder = server()
    [first, second] = feed(decoder, [USUAL, USUAL])
    assert first == second


def test_memory_of_calls_is_bounded() -> None:
    decoder = server()
    count = 3 * prpc.METHODS_REMEMBERED_MAX
    data = b"".join(frame(call(method=b"m%d" % each) + ID_7) for each in range(count))
    events = decoder.receive_data(data)
    assert [event.method for event in events if isinstance(event, Request)] == [
        f"m{each}" for each in range(count)
    ]


def test_long_names_are_read() -> None:
    request = only(server(), frame(call(b"s" * 200) + ID_7))
    assert isinstance(request, Request)
    assert request.service == "s" * 200


@pytest.mark.parametrize(
    ("meta", "errno", "text"),
    [
        (field(2, b"") + ID_7, Errno.NO_SERVICE, "reply sent to a server"),
        (ID_7, Errno.NO_SERVICE, "meta without a request sent to a server"),
        (call(b"") + ID_7, Errno.NO_SERVICE, "name of the service is empty"),
        (call(b"a.B", b"") + ID_7, Errno.NO_METHOD, "name of the method is empty"),
        (call(b"\xff\xfe") + ID_7, Errno.BAD_REQUEST, "name of service or method is not UTF-8"),
        (call(b"a", b"\xc3") + ID_7, Errno.BAD_REQUEST, "name of service or method is not UTF-8"),
        (call() + ID_7 + field(5, 5), Errno.BAD_REQUEST, "attachment of 5 bytes in 4 bytes"),
        (call() + ID_7 + field(5, -1), Errno.BAD_REQUEST, "attachment of -1 bytes in 4 bytes"),
        (call() + ID_7 + field(11, 2), Errno.BAD_REQUEST, "checksum_type 2 is unknown"),
        (call() + ID_7 + field(11, 1), Errno.BAD_REQUEST, "checksum is empty, the body has"),
    ],
)
def test_bad_request_is_answered_and_the_connection_kept(
    meta: bytes, errno: int, text: str
) -> None:
    decoder = server()
    bad, good = decoder.receive_data(frame(meta, b"body") + USUAL)
    assert isinstance(bad, BadRequest)
    assert (bad.correlation_id, bad.errno) == (7, errno)
    assert bad.text.startswith(text)
    assert isinstance(good, Request)


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        (field(1, b"") + ID_7, "meta cannot be decoded: request lacks service_name"),
        (field(1, field(2, b"C")), "meta cannot be decoded: request lacks service_name"),
        (field(1, field(1, b"a.B")) + ID_7, "meta cannot be decoded: request lacks method_name"),
        (b"\x0a\x05ab", "meta cannot be decoded"),
        (call() + b"\x20" + b"\x80" * 10 + b"\x01", "meta cannot be decoded"),
        (call() + b"\x20\x80", "meta cannot be decoded"),
        (b"\x0a\x04\x0a\x09ab" + ID_7, "meta cannot be decoded"),
        (b"\xff" * 1025, "meta of 1025 bytes, limit 1024"),
    ],
)
def test_undecodable_meta_ends_the_stream(meta: bytes, text: str) -> None:
    good, broken = server().receive_data(USUAL + frame(meta, b"body") + USUAL)
    assert isinstance(good, Request)
    assert isinstance(broken, Broken)
    assert isinstance(broken.error, ProtocolError)
    assert str(broken.error).startswith(text)


def test_nothing_comes_after_the_end() -> None:
    decoder = server()
    assert isinstance(only(decoder, b"GARBAGE"), Broken)
    assert decoder.receive_data(USUAL) == []
    assert decoder.receive_data(b"") == []
    assert decoder.buffered_bytes == 0
    assert not decoder.partial


def test_last_of_several_equal_fields_counts() -> None:
    meta = call(b"a.B", b"C") + field(4, 1) + call(b"x.Y", b"Z") + field(4, 2)
    request = only(server(), frame(meta))
    assert isinstance(request, Request)
    assert (request.service, request.method, request.correlation_id) == ("x.Y", "Z", 2)


def test_second_call_field_under_an_overlong_tag_is_not_remembered_as_the_first() -> None:
    decoder = server()
    overlong_tag = b"\x8a\x00"
    merged = frame(call() + overlong_tag + call(b"x.Y", b"Z")[1:] + ID_7)
    alone = decode("server", merged)  # merged by one runtime, skipped by the other
    assert feed(decoder, [merged, merged]) == alone * 2
    after = only(decoder, USUAL)
    assert isinstance(after, Request)
    assert after.service == "a.B"


def test_user_field_texts_are_replaced_where_they_are_no_utf8_and_the_last_of_a_key_wins() -> None:
    fields = [(b"k", b"1"), (b"\xff", b"\xfe"), (b"k", b"2")]
    meta = b"".join(field(9, field(1, key) + field(2, value)) for key, value in fields)
    request = only(server(), frame(call() + ID_7 + meta + field(9, b"")))
    assert isinstance(request, Request)
    assert request.user_fields == {"k": "2", "\ufffd": "\ufffd", "": ""}


def test_checksum_over_the_attachment_too_where_the_peer_says_so() -> None:
    whole = b"bodyraw"
    crc = prpc_checksum(whole)
    meta = call() + ID_7 + field(5, 3) + field(11, 1) + field(12, crc)
    assert isinstance(only(server(), frame(meta + field(13, 1), whole)), Request)
    assert isinstance(only(server(), frame(meta, whole)), BadRequest)


def prpc_checksum(data: bytes) -> bytes:
    from libevrpc.core.checksum import masked_crc32c

    return masked_crc32c(data)


# -- replies ----------------------------------------------------------------------------


def test_reply_has_all_that_was_sent() -> None:
    data = encode_reply(
        2**40, b"load", attachment=b"raw", compress_type=3, content_type=1, user_fields={"a": "b"}
    )
    reply = only(client(), data)
    assert isinstance(reply, Reply)
    assert (reply.correlation_id, reply.error_code, reply.error_text) == (2**40, 0, "")
    assert (reply.payload, reply.attachment) == (b"load", b"raw")
    assert (reply.compress_type, reply.content_type) == (3, 1)
    assert reply.user_fields == {"a": "b"}


def test_error_text_in_another_encoding_is_readable_in_part() -> None:
    meta = field(2, field(1, 2001) + field(2, "失败 7".encode("gbk"))) + ID_7
    reply = only(client(), frame(meta))
    assert isinstance(reply, Reply)
    assert reply.error_code == 2001
    assert reply.error_text.endswith(" 7")


def test_reply_with_a_bad_body_is_an_error_of_that_call_alone() -> None:
    decoder = client()
    meta = field(2, b"") + ID_7 + field(5, 9)
    bad, good = decoder.receive_data(frame(meta, b"body") + encode_reply(8, b"x"))
    assert isinstance(bad, Reply)
    assert (bad.correlation_id, bad.error_code) == (7, Errno.BAD_RESPONSE)
    assert isinstance(good, Reply)


def test_request_sent_to_a_client_is_dropped() -> None:
    assert decode("client", USUAL) == [("Dropped", "request sent to a client")]


def test_reply_id_that_is_no_plain_varint_is_read_in_full() -> None:
    events = [
        only(client(), frame(b"\x12\x00\x20" + each)) for each in (b"\x87\x00", b"\x07\x18\x00")
    ]
    assert [event.correlation_id for event in events if isinstance(event, Reply)] == [7, 7]


# -- sizes ------------------------------------------------------------------------------


def test_announced_sizes_are_not_believed() -> None:
    decoder = PrpcDecoder("server", WireLimits())
    head = b"PRPC" + (60_000_000).to_bytes(4, "big") + (10).to_bytes(4, "big")
    tracemalloc.start()
    try:
        assert decoder.receive_data(head + b"x") == []
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 100_000
    assert decoder.buffered_bytes == 13
    assert decoder.partial


def test_body_at_the_limit_is_read_and_one_more_byte_is_not() -> None:
    meta = call() + ID_7
    room = SMALL.body_bytes_max - len(meta)
    assert isinstance(only(server(), frame(meta, b"x" * room)), Request)
    broken = only(server(), frame(meta, b"x" * (room + 1))[:12])
    assert isinstance(broken, Broken)
    assert str(broken.error) == "body of 4097 bytes, limit 4096"


def test_dropped_frame_is_skipped_without_being_kept() -> None:
    decoder = server()
    dropped = b"PRPC" + (4000).to_bytes(4, "big") + (4001).to_bytes(4, "big")
    [event] = decoder.receive_data(dropped + b"x" * 1000)
    assert isinstance(event, Dropped)
    assert decoder.partial
    assert decoder.buffered_bytes == 0
    assert decoder.receive_data(b"x" * 2999) == []
    assert decoder.partial
    assert isinstance(only(decoder, b"x" + USUAL), Request)
    assert not decoder.partial


def test_frame_in_very_many_pieces_is_joined_in_between() -> None:
    decoder = PrpcDecoder("server", WireLimits())
    body = bytes(range(256)) * 12
    data = frame(call() + ID_7, body)
    pieces = [data[at : at + 1] for at in range(len(data))]
    assert len(pieces) > 2 * prpc.LOOSE_PARTS_MAX
    [event] = [event for piece in pieces for event in decoder.receive_data(piece)]
    assert isinstance(event, Request)
    assert event.payload == body
    assert not decoder.partial


def test_error_reply_reads_as_sent() -> None:
    reply = only(client(), encode_error(7, 2004, "full", {"grpc-status": "8"}))
    assert isinstance(reply, Reply)
    assert (reply.error_code, reply.error_text, reply.payload) == (2004, "full", b"")
    assert reply.user_fields == {"grpc-status": "8"}
