"""Protobuf messages as JSON and as text, on any supported runtime."""

from __future__ import annotations

from contextlib import suppress

import pytest
from google.protobuf import any_pb2, descriptor_pb2, struct_pb2, timestamp_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.objects import ContentType
from libevrpc.core.protobufs import format_text, message_class, parse_text
from libevrpc.errors import Errno, RpcError
from libevrpc.gen.internal_pb2 import CancelRequest, DescribeResponse, ServiceDescription

JSON, PROTO_JSON, TEXT = ContentType.JSON, ContentType.PROTO_JSON, ContentType.PROTO_TEXT
TEXTUAL = (JSON, PROTO_JSON, TEXT)


def test_class_of_a_descriptor_is_that_of_its_module() -> None:
    assert message_class(CancelRequest.DESCRIPTOR) is CancelRequest


@pytest.mark.parametrize("kind", TEXTUAL)
def test_message_comes_back_as_written(kind: int) -> None:
    service = ServiceDescription(name="ü.Ä", plain=True)
    message = DescribeResponse(services=[service], files=[b"\xff\x00"])
    assert parse_text(DescribeResponse, format_text(message, kind), kind) == message


def test_bodies_are_those_of_other_peers() -> None:
    message = CancelRequest(correlation_id=7)
    assert format_text(message, JSON) == b'{"correlationId": "7"}'
    assert format_text(message, TEXT) == b"correlation_id: 7\n"
    assert parse_text(CancelRequest, b'{"correlation_id": 7}', JSON) == message


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b""),
        (JSON, b"{"),
        (JSON, b"\xff"),
        (JSON, b"[1]"),
        (JSON, b"5"),
        (JSON, b'{"nobody": 1}'),
        (JSON, b'{"correlationId": "x"}'),
        (JSON, b'{"correlationId": 9223372036854775808}'),
        (JSON, b'{"correlationId":' + b"9" * 5000 + b"}"),
        (JSON, b"[" * 100_000),
        (TEXT, b"correlation_id: x"),
        (TEXT, b"nobody: 1"),
        (TEXT, b"\xff"),
        (TEXT, b"correlation_id {"),
    ],
    ids=lambda each: repr(each)[:30],
)
def test_body_that_cannot_be_read_is_refused_by_name(kind: int, body: bytes) -> None:
    with pytest.raises(RpcError, match="body is not an evrpc.CancelRequest: ") as caught:
        parse_text(CancelRequest, body, kind)
    assert caught.value.errno == Errno.BAD_REQUEST


def test_depth_of_a_body_is_bounded() -> None:
    for kind, head, tail in ((JSON, b'{"nestedType":[', b"]}"), (TEXT, b"nested_type {", b"}")):
        with pytest.raises(RpcError) as caught:
            parse_text(descriptor_pb2.DescriptorProto, head * 5000 + tail * 5000, kind)
        assert caught.value.errno == Errno.BAD_REQUEST


def test_value_that_json_cannot_carry_is_refused_by_name() -> None:
    messages = (
        struct_pb2.Value(number_value=float("inf")),
        timestamp_pb2.Timestamp(seconds=2**60),
        any_pb2.Any(type_url="type.googleapis.com/no.Such", value=b"x"),
    )
    for message in messages:
        with pytest.raises(RpcError, match="cannot be sent as text: ") as caught:
            format_text(message, JSON)
        assert caught.value.errno == Errno.BAD_RESPONSE


@settings(max_examples=200)
@given(st.sampled_from(TEXTUAL), st.binary(max_size=30) | st.text(max_size=30).map(str.encode))
def test_any_body_is_read_or_refused(kind: int, body: bytes) -> None:
    for cls in (DescribeResponse, struct_pb2.Value, any_pb2.Any, descriptor_pb2.FieldOptions):
        with suppress(RpcError):
            parse_text(cls, body, kind)


@pytest.mark.parametrize("kind", [0, 4, 1001, -1])
def test_other_content_types_are_refused_with_what_would_do(kind: int) -> None:
    text = f"content_type {kind} is not for protobuf services; send 0"
    with pytest.raises(RpcError, match=text):
        parse_text(CancelRequest, b"", kind)
    with pytest.raises(RpcError, match=text):
        format_text(CancelRequest(), kind)
