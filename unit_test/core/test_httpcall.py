"""A call's type, deadline, metadata and errors as HTTP headers say them."""

from __future__ import annotations

import pytest

from libevrpc.core.compress import CompressType
from libevrpc.core.httpcall import (
    bearer_of,
    compression_of,
    content_type_of,
    error_body,
    media_type_of,
    metadata_of,
    status_of_error,
    timeout_ms_of,
)
from libevrpc.core.objects import ContentType
from libevrpc.errors import Errno, StatusCode, status_of


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("application/json", ContentType.JSON),
        ('Application/JSON; Charset="UTF-8"', ContentType.JSON),
        ("application/x-protobuf", ContentType.PROTOBUF),
        ("application/proto; messageType=x", ContentType.PROTOBUF),
        ("application/msgpack", ContentType.MSGPACK),
        ("application/json; charset=utf-16", None),
        ("application/x-www-form-urlencoded", None),
        ("text/plain", None),
        ("", None),
        (None, None),
    ],
)
def test_a_body_is_what_its_type_says(header: str | None, found: int | None) -> None:
    assert content_type_of(header) == found


def test_each_type_has_a_name_that_reads_as_itself() -> None:
    for kind in (ContentType.JSON, ContentType.PROTOBUF, ContentType.MSGPACK):
        assert content_type_of(media_type_of(kind)) == kind


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, CompressType.NONE),
        ("identity", CompressType.NONE),
        ("GZIP", CompressType.GZIP),
        ("deflate", CompressType.ZLIB),
        ("br", None),
        ("gzip, gzip", None),
    ],
)
def test_a_compression_is_one_that_we_read_or_none(header: str | None, found: int | None) -> None:
    assert compression_of(header) == found


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, 0),
        ({"x-timeout-ms": "1500"}, 1500),
        ({"x-timeout-ms": "7", "grpc-timeout": "1S"}, 7),
        ({"grpc-timeout": "2S"}, 2000),
        ({"grpc-timeout": "1H"}, 3_600_000),
        ({"grpc-timeout": "3M"}, 180_000),
        ({"grpc-timeout": "250m"}, 250),
        ({"grpc-timeout": "1500u"}, 1),
        ({"grpc-timeout": "1n"}, 1),
        ({"x-timeout-ms": "0"}, None),
        ({"x-timeout-ms": "-1"}, None),
        ({"x-timeout-ms": "1.5"}, None),
        ({"x-timeout-ms": "1" * 10}, None),
        ({"x-timeout-ms": "\u0661"}, None),
        ({"grpc-timeout": "5"}, None),
        ({"grpc-timeout": "123456789m"}, None),
    ],
)
def test_a_deadline_is_a_span_or_named_wrong(headers: dict[str, str], found: int | None) -> None:
    assert timeout_ms_of(headers) == found


def test_metadata_are_the_headers_that_say_so() -> None:
    assert metadata_of({"host": "a", "x-meta-": "no key"}) is None
    assert metadata_of({"x-meta-tenant": "7", "x-meta-evrpc-oneway": "1"}) == {"tenant": "7"}


def test_a_token_is_what_follows_bearer() -> None:
    assert bearer_of({"authorization": "Bearer  secret"}) == b"secret"
    assert bearer_of({"authorization": "bearer secret"}) == b"secret"
    assert bearer_of({"authorization": "Basic secret"}) is None
    assert bearer_of({}) is None


@pytest.mark.parametrize(
    ("errno", "status"),
    [
        (Errno.NO_SERVICE, 404),
        (Errno.NO_METHOD, 404),
        (Errno.BAD_REQUEST, 400),
        (Errno.UNAUTHENTICATED, 401),
        (Errno.TIMED_OUT, 504),
        (Errno.OVERCROWDED, 503),
        (Errno.STOPPING, 503),
        (Errno.LIMIT, 429),
        (Errno.INTERNAL, 500),
        (Errno.BAD_RESPONSE, 500),
        (Errno.CANCELLED, 499),
        (4000 + StatusCode.NOT_FOUND, 404),
        (4000 + StatusCode.UNIMPLEMENTED, 501),
        (4000 + StatusCode.PERMISSION_DENIED, 403),
        (77_777, 500),
    ],
)
def test_an_error_has_a_fitting_status(errno: int, status: int) -> None:
    assert status_of_error(errno, status_of(errno)) == status


def test_an_error_is_told_with_what_its_handler_added() -> None:
    told = error_body(1003, StatusCode.INVALID_ARGUMENT, "no", {"grpc-status": "3"})
    assert told == {"error": {"code": "INVALID_ARGUMENT", "errno": 1003, "text": "no"}}
    told = error_body(7, StatusCode.UNKNOWN, "no", {"hint": "x"})
    assert told["error"]["details"] == {"hint": "x"}
