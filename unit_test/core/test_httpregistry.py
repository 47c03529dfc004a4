"""What an HTTP registry and its peers say to each other."""

from __future__ import annotations

import json

import pytest

from libevrpc.core.httpregistry import (
    DIALECTS,
    RECORD_BYTES_MAX,
    Listed,
    Words,
    check_record,
    read_list,
    span_of,
    write_list,
)
from libevrpc.errors import ProtocolError, RpcError

TINY, GEE = DIALECTS["tinyrpc"], DIALECTS["geerpc"]


def test_the_originals_names() -> None:
    assert (TINY.path, GEE.path) == ("/_tinyrpc_/registry", "/_geerpc_/registry")
    assert (TINY.server_header, TINY.servers_header) == ("X-Tinyrpc-Server", "X-Tinyrpc-Servers")
    assert (GEE.server_header, GEE.servers_header) == ("X-Geerpc-Server", "X-Geerpc-Servers")


@pytest.mark.parametrize(
    ("header", "addresses"),
    [
        ("", []),
        ("tcp@a:1", ["tcp@a:1"]),
        ("http@a:1, unix@/p,,tcp@[::]:2 ", ["http@a:1", "unix@/p", "tcp@[::]:2"]),
    ],
)
def test_a_list_in_a_header(header: str, addresses: list[str]) -> None:
    for dialect in DIALECTS.values():
        found = read_list({dialect.servers_header.lower(): header}, b"", dialect)
        assert found == tuple(Listed(each, b"") for each in addresses)


def test_a_list_in_a_body_with_records() -> None:
    body = write_list([("tcp@a:1", '{"weight": 2, "tags": ["\u20ac"]}'), ("tcp@b:1", "")])
    headers = {"x-libevrpc-version": "1", "content-type": "application/json"}
    one, two = read_list(headers, body, TINY)
    assert json.loads(one.record) == {"weight": 2, "tags": ["\u20ac"]}
    assert two == Listed("tcp@b:1", b"")
    assert read_list(headers, write_list([]), TINY) == ()
    half = write_list([("tcp@a:1", '{"tags": ["\\ud800"]}'), ("tcp@b:1", "")])
    assert [each.address for each in read_list(headers, half, TINY)] == ["tcp@a:1", "tcp@b:1"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"servers":7}', b'{"servers":[7]}', b'{"servers":[{"server":7}]}', b"["],
)
def test_a_body_that_is_no_list_is_named(body: bytes) -> None:
    headers = {"x-libevrpc-version": "1", "content-type": "application/json"}
    with pytest.raises(ProtocolError, match="cannot be read"):
        read_list(headers, body, TINY)


def test_an_answer_of_something_else_is_named() -> None:
    with pytest.raises(ProtocolError, match="no registry is there"):
        read_list({"content-type": "text/html"}, b"<html>", TINY)
    with pytest.raises(ProtocolError, match="X-Geerpc-Servers"):
        read_list({"x-tinyrpc-servers": ""}, b"", GEE)


def test_records_are_json_objects() -> None:
    assert check_record(b'{"weight":2}') == '{"weight":2}'
    for body in (
        b"7",
        b"{",
        b'{"a":NaN}',
        b'{"a":"\\ud800"}',
        b"\xff",
        b"[" * 100_000,
        b"{" + b" " * RECORD_BYTES_MAX,
    ):
        with pytest.raises(RpcError, match="record"):
            check_record(body)


def test_a_word_behind_a_later_one_of_the_same_life_is_late() -> None:
    words = Words(2)
    assert [
        words.late("a", each) for each in ("x-1", "x-3", "x-2", "x-3", "y-1", "x-9", "y-1")
    ] == [
        False,
        False,
        True,
        False,
        False,
        False,
        False,
    ]
    assert not any(words.late("a", each) for each in ("", "x", "x-", "x-\u0661", f"x-{'1' * 50}"))
    assert words.late("a", "y-0")
    assert not words.late("b", "x-2")
    assert words.late("b", "x-1")
    assert not words.late("c", "x-2")
    assert not words.late("a", "y-0")  # forgotten for "c"
    assert words.late("c", "x-1")


def test_spans_are_seconds() -> None:
    assert span_of(None) == span_of("") == span_of("0") == 0.0
    assert span_of("2.5") == 2.5
    for text in ("-1", "nan", "inf", "soon", "1e9"):
        with pytest.raises(RpcError, match="seconds"):
            span_of(text)
