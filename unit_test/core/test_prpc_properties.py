"""What holds for any bytes in any cut, on both sides."""

from __future__ import annotations

from typing import Literal

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.prpc import PrpcDecoder, Request
from libevrpc.core.prpc_encode import RequestEncoder, encode_error, encode_reply, encode_request
from libevrpc.gen import rpc_meta_pb2
from libevrpc.gen.rpc_meta_pb2 import RpcMeta
from unit_test.core.prpc_frames import CUTS, SMALL, call, cut, decode, feed, field, frame, varint

MANY = settings(max_examples=400)
SIDES = st.sampled_from(("server", "client"))
INT64 = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300)
UNICODE = st.characters(codec="utf-8")
TEXT = st.text(UNICODE, min_size=1, max_size=12)
FIELDS = st.none() | st.dictionaries(TEXT, st.text(UNICODE, max_size=9), max_size=3)
BODY = st.binary(max_size=40)

IDS = st.one_of(
    INT64.map(lambda value: field(4, value)),
    st.sampled_from([b"\x20\x87\x00", b"\x20" + b"\x80" * 9 + b"\x01", b"\x20\x80", b"\x20"]),
    st.just(b"\x20" + b"\x81" * 8 + b"\x00"),
)
CALLS = st.one_of(
    st.just(call()),
    st.builds(call, st.binary(max_size=6), st.binary(max_size=6)),
    st.integers(-9, 2**31).map(lambda value: call(b"a.B", b"C", field(8, value))),
    st.just(b"\x8a\x00" + call(b"x.Y", b"Z")[1:]),
    st.just(call(b"long" * 40)),
)
REST = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([field(3, 0), field(5, 2), field(5, -1), field(10, 1), field(12, b"")]),
    st.sampled_from([field(2, b""), field(2, field(1, 1003)), b"\x12\x00\x20\x07", field(11, 1)]),
    st.just(field(9, field(1, b"k") + field(2, b"v"))),
)
METAS = st.lists(CALLS | IDS | REST, max_size=5).map(b"".join) | st.tuples(CALLS, IDS).map(b"".join)
FRAMES = st.one_of(
    st.builds(frame, METAS, BODY),
    st.just(frame(call() + field(4, 7), b"body")),
    st.integers(1, 30).map(lambda size: b"PRPC" + b"\0\0\0\x05" + b"\0\0\0\x09" + b"12345"),
)
STREAMS = st.lists(FRAMES, max_size=6).map(b"".join) | st.binary(max_size=60)
MIXED = st.tuples(STREAMS, st.binary(max_size=14)).map(b"".join)


@MANY
@given(SIDES, MIXED, CUTS)
def test_any_cut_gives_the_same_events(side: str, data: bytes, at: list[int]) -> None:
    whole = decode(side, data)
    decoder = PrpcDecoder(side, SMALL)  # type: ignore[arg-type]
    assert feed(decoder, cut(data, at)) == whole


@MANY
@given(SIDES, MIXED | st.binary(max_size=300), CUTS)
def test_any_bytes_give_events_or_one_named_error_and_never_fill_memory(
    side: Literal["server", "client"], data: bytes, at: list[int]
) -> None:
    decoder = PrpcDecoder(side, SMALL)
    received_bytes = 0
    events: list[tuple[object, ...]] = []
    for chunk in cut(data, at):
        received_bytes += len(chunk)
        events += feed(decoder, [chunk])
        assert decoder.buffered_bytes <= min(received_bytes, SMALL.body_bytes_max + 12)
    assert [event[0] for event in events[:-1]].count("Broken") == 0


@MANY
@given(METAS, BODY)
def test_the_short_cut_reads_what_the_long_way_reads(meta: bytes, body: bytes) -> None:
    # An empty unknown field in front keeps the decoder from taking its short cut.
    padding = field(2000, b"")
    assert decode("server", frame(padding + meta, body)) == decode("server", frame(meta, body))
    assert decode("client", frame(padding + meta, body)) == decode("client", frame(meta, body))


@MANY
@given(st.lists(METAS, min_size=1, max_size=8))
def test_memory_of_calls_changes_nothing(metas: list[bytes]) -> None:
    decoder = PrpcDecoder("server", SMALL)
    for meta in [*metas, *metas]:
        got = feed(decoder, [frame(meta, b"body")])
        if got and got[0][0] != "Broken":
            assert got == decode("server", frame(meta, b"body"))
        else:
            decoder = PrpcDecoder("server", SMALL)


@MANY
@given(METAS)
def test_decoder_and_protobuf_agree_on_what_can_be_decoded(meta: bytes) -> None:
    try:
        parsed = RpcMeta.FromString(meta)
    except DecodeError:
        parsed = None
    [event] = decode("server", frame(meta))
    if parsed is None or (parsed.HasField("request") and not parsed.request.IsInitialized()):
        assert event[0] == "Broken"
    else:
        assert event[0] in ("Request", "BadRequest")
        assert parsed.correlation_id == (
            dict(event[1:])["correlation_id"] if event[0] == "Request" else event[1]  # type: ignore[arg-type,call-overload]
        )


# -- round trips ------------------------------------------------------------------------


@MANY
@given(
    service=TEXT, method=TEXT, correlation_id=INT64, payload=BODY, attachment=BODY,
    timeout_ms=st.integers(0, 2**33), log_id=INT64, compress_type=st.integers(0, 4),
    content_type=st.sampled_from((0, 1, 1001)), user_fields=FIELDS, checksum=st.booleans(),
)  # fmt: skip
def test_request_round_trip(service, method, correlation_id, payload, timeout_ms, **more) -> None:
    first = encode_request(service, method, correlation_id, payload, timeout_ms=timeout_ms, **more)
    second = RequestEncoder(service, method).encode(
        correlation_id, payload, timeout_ms=timeout_ms, **more
    )
    assert first == second
    [(kind, *fields)] = decode("server", first)
    assert kind == "Request"
    more.pop("checksum")
    more["user_fields"] = more["user_fields"] or None
    assert dict(fields) == {
        "service": service, "method": method, "correlation_id": correlation_id,
        "payload": payload, "timeout_ms": min(timeout_ms, 2**31 - 1), **more,
    }  # fmt: skip


@MANY
@given(
    correlation_id=INT64, payload=BODY, attachment=BODY, compress_type=st.integers(0, 4),
    content_type=st.sampled_from((0, 1, 1001)), user_fields=FIELDS, checksum=st.booleans(),
)  # fmt: skip
def test_reply_round_trip(correlation_id, payload, **more) -> None:
    data = encode_reply(correlation_id, payload, **more)
    [(kind, *fields)] = decode("client", data)
    assert kind == "Reply"
    more.pop("checksum")
    more["user_fields"] = more["user_fields"] or None
    assert dict(fields) == {
        "correlation_id": correlation_id, "payload": payload,
        "error_code": 0, "error_text": "", **more,
    }  # fmt: skip


@MANY
@given(INT64, st.integers(1, 2**31 - 1), st.text(max_size=50), FIELDS)
def test_error_round_trip(correlation_id, errno, text, user_fields) -> None:
    [(kind, *fields)] = decode("client", encode_error(correlation_id, errno, text, user_fields))
    assert kind == "Reply"
    told = dict(fields)
    assert (told["correlation_id"], told["error_code"]) == (correlation_id, errno)
    assert told["error_text"] == text.encode("utf-8", "replace").decode()
    assert told["user_fields"] == (user_fields or None)


# -- against plain protobuf -------------------------------------------------------------


def brpc_meta() -> type:
    """Return RpcMeta with the types of brpc's own definition: strings and a map."""
    file = descriptor_pb2.FileDescriptorProto()
    rpc_meta_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = "as_brpc.proto", "as_brpc"
    messages = {message.name: message for message in file.message_type}
    for message in file.message_type:
        for each in message.field:
            if each.type_name:
                each.type_name = each.type_name.replace(".evrpc.wire.", ".as_brpc.")
            if each.name in ("service_name", "method_name", "error_text", "key", "value"):
                each.type = each.TYPE_STRING
    entry = messages["RpcMeta"].nested_type.add()
    entry.CopyFrom(messages["UserField"])
    entry.name = "UserFieldsEntry"
    entry.options.map_entry = True
    for each in messages["RpcMeta"].field:
        if each.name == "user_fields":
            each.type_name = ".as_brpc.RpcMeta.UserFieldsEntry"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("as_brpc.RpcMeta"))


AS_BRPC = brpc_meta()


@MANY
@given(TEXT, TEXT, INT64, st.integers(0, 2**31 - 1), FIELDS)
def test_brpc_reads_what_we_write(service, method, correlation_id, timeout_ms, user_fields) -> None:
    encoder = RequestEncoder(service, method)
    data = encoder.encode(correlation_id, b"x", timeout_ms=timeout_ms, user_fields=user_fields)
    wanted = AS_BRPC(correlation_id=correlation_id, user_fields=user_fields or {})
    wanted.request.service_name = service
    wanted.request.method_name = method
    wanted.request.timeout_ms = timeout_ms
    assert AS_BRPC.FromString(data[12:-1]) == wanted
    assert data[:4] == b"PRPC"
    assert int.from_bytes(data[4:8], "big") == len(data) - 12
    assert int.from_bytes(data[8:12], "big") == len(data) - 13


@MANY
@given(TEXT, TEXT, INT64, st.integers(0, 2**31 - 1), FIELDS)
def test_we_read_what_brpc_writes(service, method, correlation_id, timeout_ms, user_fields) -> None:
    meta = AS_BRPC(correlation_id=correlation_id, user_fields=user_fields or {})
    meta.request.service_name = service
    meta.request.method_name = method
    meta.request.timeout_ms = timeout_ms
    data = frame(meta.SerializeToString(), b"x")
    [event] = PrpcDecoder("server", SMALL).receive_data(data)
    assert isinstance(event, Request)
    assert (event.service, event.method, event.timeout_ms) == (service, method, timeout_ms)
    assert (event.correlation_id, event.user_fields) == (correlation_id, user_fields or None)


@MANY
@given(INT64)
def test_ids_of_the_usual_frames_are_canonical(correlation_id: int) -> None:
    meta = AS_BRPC(correlation_id=correlation_id)
    meta.response.SetInParent()
    assert encode_reply(correlation_id, b"x") == frame(meta.SerializeToString(), b"x")
    assert varint(correlation_id) == meta.SerializeToString()[3:]
