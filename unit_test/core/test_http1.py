"""HTTP/1.1 of one connection, from bytes to requests and back, at every cut."""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core.http import HttpAnswer, HttpFault, HttpHead, HttpLimits, HttpReply, HttpRequest
from libevrpc.core.http1 import (
    BLANK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    CHUNKS_FREE,
    HEADERS_MAX,
    HttpAnswerReader,
    HttpConnection,
    probe_http,
)
from libevrpc.core.wires import PROBE_BYTES_MAX, Probe
from libevrpc.errors import ProtocolError

LIMITS = HttpLimits(head_bytes_max=4096, body_bytes_max=10_000)
POST = b"POST /echo.EchoService/Echo?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /p%20q HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: z\r\n\r\n"
)
OK = HttpReply.text(200, "ok")


def all_of(connection: HttpConnection, *pieces: bytes) -> list[Any]:
    """Feed the pieces as long as no request is whole; return what was understood."""
    found: list[Any] = []
    for piece in pieces:
        connection.receive(piece)
        while (item := connection.next()) is not None:
            found.append(item)
    return found


def last_of(data: bytes, limits: HttpLimits = LIMITS) -> Any:
    return all_of(HttpConnection(limits), data)[-1]


@pytest.mark.parametrize("data", [POST, CHUNKED])
def test_a_request_is_the_same_at_every_cut(data: bytes) -> None:
    whole = all_of(HttpConnection(LIMITS), data)
    assert [type(item) for item in whole] == [HttpHead, HttpRequest]
    assert whole[1].body == b"hello"
    assert whole[1].head is whole[0]
    for cut in range(1, len(data)):
        assert all_of(HttpConnection(LIMITS), data[:cut], data[cut:]) == whole
    assert all_of(HttpConnection(LIMITS), *(bytes([byte]) for byte in data)) == whole


@pytest.mark.parametrize("line", [b"\r\n", b"\n", b"\r"])
def test_a_few_empty_lines_before_a_request_mean_nothing_and_many_are_400(line: bytes) -> None:
    few = line * (BLANK_BYTES_MAX // len(line))
    assert probe_http(few) is Probe.YES
    assert probe_http(few[:-2]) is Probe.MORE
    for head in (few, few[:-2] + b"P", few[:-2] + b"PO"):
        assert probe_http((head + POST)[:PROBE_BYTES_MAX]) is Probe.YES
    whole = all_of(HttpConnection(LIMITS), POST)
    assert all_of(HttpConnection(LIMITS), few, POST) == whole
    assert all_of(HttpConnection(LIMITS), few + POST) == whole
    many = HttpFault(400, "more than 64 bytes of empty lines")
    assert all_of(HttpConnection(LIMITS), few, line + POST) == [many]
    lines = BLANK_BYTES_MAX // len(line) + 1
    assert all_of(HttpConnection(LIMITS), *[line] * lines) == [many]
    connection = HttpConnection(LIMITS)
    assert last_of(few + line) == many
    assert all_of(connection, few * 2 + POST) == [many]
    assert connection.respond(OK).startswith(b"HTTP/1.1 200 OK\r\n")
    assert connection.closing


def test_a_head_is_told_in_parts() -> None:
    head = last_of(POST).head
    assert (head.method, head.path, head.query, head.version) == (
        "POST",
        "/echo.EchoService/Echo",
        "x=1",
        "1.1",
    )
    assert head.headers == {"host": "a", "content-length": "5"}
    assert head.body_follows
    assert not head.waits
    assert last_of(CHUNKED).head.path == "/p q"
    assert not last_of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").head.body_follows


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a", "/a"),
        (b"http://h:1/a?b", "/a"),
        (b"http://h:1", "/"),
        (b"*", "*"),
        (b"/%FF", "/\ufffd"),
    ],
)
def test_a_target_in_each_of_its_forms_names_its_path(target: bytes, path: str) -> None:
    assert last_of(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target).head.path == path


def test_headers_are_read_as_people_write_them() -> None:
    head = last_of(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\nX-U: \xc3\xa9\r\nX-L: \xe9\r\n\r\n"
    ).head
    assert head.headers["x-a"] == "1, 2"
    assert head.headers["x-u"] == head.headers["x-l"] == "\xe9"


def test_bare_line_feeds_and_empty_lines_before_a_request_are_taken() -> None:
    assert last_of(b"\r\n\nGET / HTTP/1.0\n\n").head.version == "1.0"
    connection = HttpConnection(LIMITS)
    assert all_of(connection, b"\r\n", b"\n", b"GET / HTTP/1.0\r", b"\n\r\n")[-1].body == b""


def test_connect_hands_over_what_came_behind_it() -> None:
    connection = HttpConnection(LIMITS)
    found = all_of(connection, b'CONNECT /_tinyrpc_ HTTP/1.0\n\n{"Magic')
    assert found[-1].head.path == "/_tinyrpc_"
    assert connection.whole
    assert connection.rest() == b'{"Magic'
    assert not connection.whole


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n bad\r\n\tfold\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: \x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\x01X: 1\r\n\r\n", 400),
        (b"GET \xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10001\r\n\r\n", 413),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2711\r\n"
            + bytes(10_001),
            413,
        ),
        (b"GET /" + b"a" * 4096 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX-A: " + b"a" * 8192, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: 1\r\n" * HEADERS_MAX + b"\r\n", 431),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
    ],
)
def test_a_bad_request_gets_a_status_and_the_end(data: bytes, status: int) -> None:
    connection = HttpConnection(LIMITS)
    fault = all_of(connection, data)[-1]
    assert isinstance(fault, HttpFault), fault
    assert fault.status == status
    assert fault.text
    assert "\\x" not in fault.text
    assert len(fault.text) < 200
    said = connection.respond(HttpReply.text(fault.status, fault.text), close=True)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close\r\n" in said
    assert connection.closing


def test_many_tiny_chunks_are_refused_and_a_few_are_not() -> None:
    start = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    free = last_of(start + b"1\r\na\r\n" * CHUNKS_FREE + b"0\r\n\r\n")
    assert len(free.body) == CHUNKS_FREE
    fault = last_of(start + b"1\r\na\r\n" * (CHUNKS_FREE + 1))
    assert (fault.status, str(CHUNK_BYTES_MIN) in fault.text) == (400, True)
    limits = HttpLimits(body_bytes_max=1 << 20)
    chunk = b"20\r\n" + bytes(CHUNK_BYTES_MIN) + b"\r\n"
    long = last_of(start + chunk * (CHUNKS_FREE + 1) + b"0\r\n\r\n", limits)
    assert len(long.body) == CHUNK_BYTES_MIN * (CHUNKS_FREE + 1)


def test_a_client_that_waits_is_told_to_go_on() -> None:
    connection = HttpConnection(LIMITS)
    head = POST.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue").partition(b"hello")[0]
    assert [item.waits for item in all_of(connection, head)] == [True]
    assert connection.go_on() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert all_of(connection, b"hello")[-1].body == b"hello"


def test_an_answer_frees_the_connection_for_the_next_request() -> None:
    connection = HttpConnection(LIMITS)
    all_of(connection, POST + CHUNKED)
    said = connection.respond(HttpReply.text(200, "ok", ("X-A", "1")))
    assert said == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nX-A: 1\r\n"
        b"Content-Length: 2\r\n\r\nok"
    )
    assert not connection.closing
    rest = connection.rest()
    assert rest == CHUNKED
    assert all_of(connection, rest)[-1].body == b"hello"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
)
def test_a_client_that_wants_the_end_gets_it(data: bytes) -> None:
    connection = HttpConnection(LIMITS)
    all_of(connection, data)
    assert b"Connection: close\r\n" in connection.respond(OK)
    assert connection.closing


def test_we_may_end_a_connection_that_could_go_on() -> None:
    connection = HttpConnection(LIMITS)
    all_of(connection, POST)
    assert b"Connection: close\r\n" in connection.respond(OK, close=True)
    assert connection.closing


def test_an_answer_before_the_body_ends_the_connection() -> None:
    connection = HttpConnection(LIMITS)
    all_of(connection, POST[:-1])
    assert connection.buffered_bytes == 4
    assert b"Connection: close\r\n" in connection.respond(HttpReply.text(401, "who?"))
    assert connection.closing


def test_an_offer_to_upgrade_is_no_reason_to_close() -> None:
    connection = HttpConnection(LIMITS)
    all_of(connection, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert b"close" not in connection.respond(OK)
    assert not connection.closing


def test_head_gets_the_length_alone_and_204_not_even_that() -> None:
    connection = HttpConnection(LIMITS)
    all_of(connection, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    said = connection.respond(OK)
    assert b"Content-Length: 2\r\n" in said
    assert said.endswith(b"\r\n\r\n")
    assert not connection.closing
    connection.rest()
    all_of(connection, b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n")
    said = connection.respond(HttpReply(204, b"", (("Allow", "GET"),)))
    assert said == b"HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n"


def test_what_a_page_says_cannot_break_the_stream() -> None:
    connection = HttpConnection(LIMITS)
    all_of(connection, POST)
    reply = HttpReply(
        299,
        b"x",
        (
            ("X-A", "1\r\nX-Evil: 2\0"),
            ("bad name", "1"),
            ("Content-Length", "99"),
            ("transfer-encoding", "chunked"),
            ("X-U", "\xe9\ud800"),
        ),
    )
    assert connection.respond(reply) == (
        b"HTTP/1.1 299 \r\nX-A: 1  X-Evil: 2\r\nX-U: \xc3\xa9\r\nContent-Length: 1\r\n\r\nx"
    )


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body_whatever_their_page_says(status: int) -> None:
    connection = HttpConnection(LIMITS)
    all_of(connection, POST)
    said = connection.respond(HttpReply(status, b"body"))
    assert said.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in said
    assert not connection.closing


@pytest.mark.parametrize(
    "given", [(99,), (600,), (200, "text"), (200, b"", (("X-A", 7),)), (200, b"", ((b"X-A", "7"),))]
)
def test_what_cannot_be_sent_is_refused_where_it_is_made(given: Any) -> None:
    with pytest.raises(ValueError, match="no HTTP reply"):
        HttpReply(*given)


def test_json_is_written_for_people_too() -> None:
    reply = HttpReply.json(400, {"a": "\xe9\ud800"})
    assert reply.body == b'{"a":"\xc3\xa9?"}\n'
    assert reply.headers == (("Content-Type", "application/json"),)


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"GET /", Probe.YES),
        (b"CONNECT h:1", Probe.YES),
        (b"PROPFIND / HTTP", Probe.YES),
        (b"PRI * HTTP/2.0", Probe.YES),
        (b"PROPFIND ", Probe.MORE),
        (b"CALL Foo.Sum", Probe.NO),
        (b"\r\nPOST /", Probe.YES),
        (b"GET", Probe.MORE),
        (b"PROP", Probe.MORE),
        (b"\r\n\r\n", Probe.MORE),
        (b"GETA" * 6, Probe.NO),
        (b"STRM\x00\x00", Probe.NO),
        (b"get / HTTP/1.1", Probe.NO),
        (b"  GE", Probe.NO),
        (b'{"Ma', Probe.NO),
        (b"\x12\x00\x00\x00", Probe.NO),
        (b"G\xc9T /", Probe.NO),
    ],
)
def test_a_request_is_known_by_its_first_word(head: bytes, answer: Probe) -> None:
    assert probe_http(head) is answer


@given(st.binary(max_size=300), st.integers(1, 299))
def test_whatever_comes_becomes_requests_faults_or_waiting(noise: bytes, cut: int) -> None:
    connection = HttpConnection(LIMITS)
    data = b"POST " + noise
    for piece in (data[:cut], data[cut:]):
        if piece and not connection.whole:
            connection.receive(piece)
            while (item := connection.next()) is not None:
                assert isinstance(item, HttpHead | HttpRequest | HttpFault)


def answer_of(*pieces: bytes, method: str = "GET") -> HttpAnswer | None:
    reader = HttpAnswerReader(method, LIMITS)
    answer = None
    for piece in pieces:
        answer = reader.receive(piece)
    return answer


ANSWER = b"HTTP/1.1 200 OK\r\nX-Tinyrpc-Servers: a,b\r\nContent-Length: 2\r\n\r\nok"


def test_an_answer_is_the_same_at_every_cut() -> None:
    whole = answer_of(ANSWER)
    assert whole is not None
    assert (whole.status, whole.body) == (200, b"ok")
    assert whole.headers["x-tinyrpc-servers"] == "a,b"
    for cut in range(1, len(ANSWER)):
        assert answer_of(ANSWER[:cut], ANSWER[cut:]) == whole


def test_an_answer_may_end_with_its_connection() -> None:
    head = b"HTTP/1.0 200 OK\n\n"
    assert answer_of(head, b"body") is None
    answer = answer_of(head, b"body", b"")
    assert answer is not None
    assert answer.body == b"body"
    word = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer_of(word + b"HTTP/1.1 204 No Content\r\n\r\n") == HttpAnswer(204, {}, b"")
    length = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    assert answer_of(length, method="HEAD") is not None


@pytest.mark.parametrize(
    "pieces",
    [
        (b"",),
        (b"garbage\r\n\r\n",),
        (b"SSH-2.0-OpenSSH\r\n", b""),
        (ANSWER[:-1], b""),
        (ANSWER[:20], b""),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 8192,),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(10_001),),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",),
    ],
)
def test_what_is_no_answer_is_named(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(ProtocolError, match="answer"):
        answer_of(*pieces)


def test_one_machine_of_h11_reads_one_message() -> None:
    """What rest() relies on: h11 keeps what came behind a message apart."""
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(POST + b"PRPC")
    while not isinstance(peer.next_event(), h11.EndOfMessage):
        pass
    assert peer.trailing_data == (b"PRPC", False)
