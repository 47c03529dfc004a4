from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.errors import ProtocolError
from libevrpc.registry import etcd_wire
from libevrpc.registry.etcd_wire import (
    Change,
    StreamDecoder,
    WatchNews,
    after,
    failure_text,
    found,
    number,
    object_of,
    range_of,
    revision,
)

HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
CREATED = b'{"result":{"header":{"cluster_id":"7","revision":"5"},"created":true}}\n'
EVENTS = (
    b'{"result":{"header":{"cluster_id":"7","revision":"9"},"events":['
    b'{"kv":{"key":"L2EvaA==","create_revision":"4","mod_revision":"8","version":"1","value":"MQ=="}},'
    b'{"type":"DELETE","kv":{"key":"L2EvaQ==","mod_revision":"9"}}]}}\n'
)
COMPACTED = b'{"result":{"header":{"cluster_id":"7"},"canceled":true,"compact_revision":"9"}}\n'
TOLD = [
    WatchNews(True, 5, 7, (), "", 0),
    WatchNews(False, 9, 7, (Change(b"/a/h", b"1", 8), Change(b"/a/i", None, 9)), "", 0),
    WatchNews(False, 0, 7, (), "revisions before 9 are compacted", 9),
]


@given(st.lists(st.integers(0, len(HEAD + CREATED + EVENTS + COMPACTED)), max_size=12))
def test_a_stream_reads_the_same_wherever_it_is_cut(cuts: list[int]) -> None:
    stream = HEAD + CREATED + EVENTS + COMPACTED
    decoder, told = StreamDecoder(), []
    edges = [0, *sorted(cuts), len(stream)]
    for begin, end in itertools.pairwise(edges):
        told += decoder.receive_data(stream[begin:end])
    assert told == TOLD
    assert decoder.status == 200
    assert decoder.ending() == "watch ends"


@given(st.binary(max_size=200))
def test_no_bytes_of_a_stream_raise_anything_else(junk: bytes) -> None:
    for head in (b"", HEAD, HEAD + CREATED):
        decoder = StreamDecoder()
        with contextlib.suppress(ProtocolError):
            told = decoder.receive_data(head + junk + b"\n")
            assert all(isinstance(each, WatchNews) for each in told)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "this is no HTTP"),
        (HEAD + b"<html>\n", "'<html>' where JSON"),
        (HEAD + b"[" * 100_000 + b"\n", "where JSON"),
        (HEAD + b'{"error":{"grpc_code":14,"message":"etcdserver: no leader"}}\n', "no leader"),
        (HEAD + b'{"nothing":1}\n', "no reason given"),
        (HEAD + b'{"result":[]}\n', "no object"),
        (HEAD + b'{"result":{"events":{}}}\n', "no list of objects"),
        (HEAD + b'{"result":{"events":[{"kv":{"key":"?"}}]}}\n', "no base64"),
        (HEAD + b'{"result":{"events":[{"kv":{"key":5}}]}}\n', "no base64"),
        (HEAD + b'{"result":{"header":{"revision":"5x"}}}\n', "no number"),
        (HEAD + b'{"result":{"header":{"revision":true}}}\n', "no number"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "proxy in between"),
        (b"HTTP/1.0 200 OK\r\n" + b"x" * etcd_wire.HEAD_BYTES_MAX, "a head of more than"),
    ],
)
def test_what_is_no_stream_is_named(said: bytes, told: str) -> None:
    with pytest.raises(ProtocolError, match=told):
        StreamDecoder().receive_data(said)


def test_a_line_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_wire, "LINE_BYTES_MAX", 1000)
    decoder = StreamDecoder()
    decoder.receive_data(HEAD + b"x" * 1000)
    with pytest.raises(ProtocolError, match="a line of more than 1000 bytes"):
        decoder.receive_data(b"x")


@pytest.mark.parametrize(
    ("said", "ending"),
    [
        (b"", "hangs up"),
        (b"HTTP/1.0 2", "hangs up in the head"),
        (HEAD + b'{"res', "in the middle of a message"),
        (
            b'HTTP/1.0 401 Unauthorized\r\n\r\n{"error":"etcdserver: invalid auth token"}',
            "status 401 etcdserver: invalid auth token",
        ),
        (b"HTTP/1.0 404 Not Found\r\n\r\nNot Found\n", "status 404 Not Found"),
    ],
)
def test_the_end_of_a_stream_says_why(said: bytes, ending: str) -> None:
    decoder = StreamDecoder()
    assert decoder.receive_data(said) == []
    assert ending in decoder.ending()


def test_a_refusal_is_read_up_to_a_bound() -> None:
    decoder = StreamDecoder()
    with pytest.raises(ProtocolError, match="status 500"):
        decoder.receive_data(b"HTTP/1.0 500 x\r\n\r\n" + b"x" * (etcd_wire.HEAD_BYTES_MAX + 1))


def test_a_watch_that_etcd_ends_says_why() -> None:
    line = {"result": {"canceled": True, "cancel_reason": "rpc error: code = X desc = as asked"}}
    (news,) = StreamDecoder().receive_data(HEAD + json.dumps(line).encode() + b"\n")
    assert news.ended == "as asked"
    line = {"result": {"canceled": True}}
    (news,) = StreamDecoder().receive_data(HEAD + json.dumps(line).encode() + b"\n")
    assert news.ended == "no reason given"


@pytest.mark.parametrize(
    ("said", "value"),
    [({}, 0), ({"n": "-5"}, -5), ({"n": 7}, 7), ({"n": str(2**64 - 1)}, 2**64 - 1)],
)
def test_numbers_are_strings_and_left_out_where_zero(said: dict[str, Any], value: int) -> None:
    assert number(said, "n") == value


@pytest.mark.parametrize("said", [None, 1.5, [], "", "1e3", "9" * 30, str(2**64), "\u0661"])
def test_what_is_no_number_is_named(said: object) -> None:
    with pytest.raises(ProtocolError, match="answers n = "):
        number({"n": said}, "n")


def test_an_answer_without_revision_is_refused() -> None:
    with pytest.raises(ProtocolError, match="without the store's revision"):
        revision({"header": {"cluster_id": "1"}})


def test_answers_are_objects() -> None:
    assert object_of(b'{"a":1}') == {"a": 1}
    with pytest.raises(ProtocolError, match=r"'\[1\]' where JSON"):
        object_of(b"[1]")
    with pytest.raises(ProtocolError, match="no list"):
        found({"kvs": "x"})


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"error": "a", "message": "b"}, "b"),
        ({"error": {"message": "c"}}, "c"),
        ({"error": {"code": 1}}, ""),
        ({"error": 5}, ""),
    ],
)
def test_the_text_of_an_error_is_found(answer: dict[str, Any], text: str) -> None:
    assert failure_text(answer) == text


def test_a_prefix_is_a_range() -> None:
    assert after(b"/a/") == b"/a0"
    assert range_of(b"/a/", limit="1") == {"key": "L2Ev", "range_end": "L2Ew", "limit": "1"}
