"""How connections to TinyRPC's and gee-rpc's servers begin, byte for byte, and how they fail to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from libevrpc import Errno, RpcClient, RpcError, RpcServer, StatusCode
from libevrpc.channel.dial import DialTimes, dial_in_background
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.tinyrpc import FILLED_OPTION_BYTES, ServerStream
from unit_test.client.tiny import Args, answered, call, failure, serve
from unit_test.fix_net import free_port
from unit_test.fix_peers import Peers, read_exactly, read_to_end
from unit_test.fix_rpc import WAIT_S

pytestmark = pytest.mark.live

OPTION = (
    b'{"MagicNumber":3927900,"CodecType":"application/gob","ConnectTimeout":10000000000,'
    b'"HandleTimeout":0}\n'
)


class Foo:
    """Adds."""

    def sum(self, args: Args) -> int:
        return args.Num1 + args.Num2

    Sum = sum


@pytest.fixture
def address() -> Iterator[str]:
    with RpcServer("127.0.0.1:0") as server:
        server.add_object(Foo(), name="Foo")
        yield server.address


def test_the_first_bytes_of_a_connection() -> None:
    seen: list[bytes] = []

    def tcp(sock: socket.socket) -> None:
        seen.append(read_exactly(sock, len(OPTION)))
        sock.sendall(OPTION)
        read_to_end(sock)

    with Peers(tcp) as peers:
        assert "deadline" in failure(peers.address, connect_timeout_s=10, timeout_s=0.2).text
    assert seen == [OPTION]


def test_connect_comes_first_and_is_awaited() -> None:
    seen: list[bytes] = []

    def http(sock: socket.socket) -> None:
        seen.append(read_exactly(sock, 29))
        sock.sendall(b"HTTP/1.0 200 Connected to RPC\n\n")
        serve(answered)(sock)

    with Peers(http) as peers:
        assert call(peers.address, wire="tinyrpc-http") == 4
        assert call(f"http@{peers.address}") == 4
        assert call(f"list://http@{peers.address}") == 4
    assert seen == [b"CONNECT /_tinyrpc_ HTTP/1.0\n\n"] * 3
    with Peers(serve(answered)) as peers:
        assert call(f"tcp@{peers.address}", wire="tinyrpc-http") == 4


def test_an_answer_in_any_pieces() -> None:
    def split(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_exactly(sock, 29)
        for byte in b"HTTP/1.1 200 Connected to RPC\r\nA: b\r\n\r\n":
            sock.sendall(bytes([byte]))
        stream = ServerStream("tinyrpc", 1 << 20)
        stream.feed(read_exactly(sock, len(stream_option)))
        for byte in stream.welcome():
            sock.sendall(bytes([byte]))
        while data := sock.recv(65536):
            stream.feed(data)
            while (message := stream.next_message()) is not None:
                for byte in answered(stream, message):
                    sock.sendall(bytes([byte]))

    stream_option = OPTION.replace(b"10000000000", b"1000000000")
    with Peers(split) as peers:
        assert call(peers.address, wire="tinyrpc-http") == 4


def test_an_answer_without_its_line_feed() -> None:
    def bare(sock: socket.socket) -> None:
        stream = ServerStream("tinyrpc", 1 << 20)
        while not stream.feed(sock.recv(4096)):
            pass
        sock.sendall(stream.welcome().rstrip())
        serve_on(stream, sock)

    def serve_on(stream: ServerStream, sock: socket.socket) -> None:
        while data := sock.recv(65536):
            stream.feed(data)
            while (message := stream.next_message()) is not None:
                sock.sendall(answered(stream, message))

    with Peers(bare) as peers:
        assert call(peers.address) == 4


@pytest.mark.parametrize(
    ("wire", "answer", "told"),
    [
        ("tinyrpc", None, "rpc client: connect timeout: expect within 100ms"),
        ("tinyrpc-http", None, "rpc client: connect timeout: expect within 100ms"),
        ("tinyrpc", b"GARBAGE!", "closed the connection instead of answering the option"),
        ("tinyrpc", b"", "closed the connection instead of answering the option"),
        ("tinyrpc-http", b"", "closed the connection instead of answering CONNECT"),
        ("tinyrpc", b"GARBAGE! ", "no JSON"),
        ("tinyrpc", b'{"MagicNumber":1}', "MagicNumber is 1, not 3927900"),
        ("tinyrpc", OPTION.replace(b"gob", b"json"), "answers application/json, not"),
        ("tinyrpc", b"[" * 5000, "limit 4096"),
        (
            "tinyrpc-http",
            b"HTTP/1.0 405 Method Not Allowed\r\n\r\n405 must CONNECT\n",
            "answered CONNECT /_tinyrpc_ with 'HTTP/1.0 405 Method Not Allowed'",
        ),
        ("tinyrpc-http", b"SSH-2.0-OpenSSH\n\n", "answered CONNECT /_tinyrpc_ with 'SSH-2.0"),
        ("tinyrpc-http", b"HTTP/1.0 200 OK\nX: " + b"x" * 9000, "over 8192 bytes"),
    ],
)
def test_a_greeting_that_fails_is_told_by_name(wire: str, answer: bytes | None, told: str) -> None:
    def peer(sock: socket.socket) -> None:
        sock.recv(4096)
        if answer is None:
            read_to_end(sock)
            return
        sock.sendall(answer)
        with suppress(OSError):  # the client may have had enough already
            sock.shutdown(socket.SHUT_WR)
            read_to_end(sock)

    with Peers(peer) as peers:
        patience_s = 0.1 if answer is None else WAIT_S
        error = failure(peers.address, wire=wire, timeout_s=WAIT_S, connect_timeout_s=patience_s)
    assert error.code is StatusCode.UNAVAILABLE
    assert told in error.text
    assert peers.address in error.text


def test_a_greeting_that_fails_leads_to_another_server(address: str) -> None:
    with Peers(lambda sock: sock.recv(4096)) as peers:
        for _ in range(3):
            assert call(f"list://{peers.address},127.0.0.1:{free_port()},{address}") == 4


@pytest.mark.parametrize("begun", [True, False])
def test_closing_ends_a_greeting_that_waits(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or that has not begun: the connection has just been made."""
    dialled, goes_on, greeted, ended = (threading.Event() for _ in range(4))

    def dial(endpoint: Endpoint, times: DialTimes, on_done: Callable[..., object]) -> None:
        def done(outcome: object) -> None:
            dialled.set()
            assert goes_on.wait(WAIT_S)
            on_done(outcome)

        dial_in_background(endpoint, times, done)

    def silent(sock: socket.socket) -> None:
        if begun:
            sock.recv(4096)
            greeted.set()
        read_to_end(sock)
        ended.set()

    monkeypatch.setattr("libevrpc.channel.stream.dial_in_background", dial)
    with Peers(silent) as peers:
        client = RpcClient(peers.address, wire="tinyrpc", connect_timeout_s=600)
        future = client.future("Foo.Sum", Args(1, 2), timeout_s=600)
        assert dialled.wait(WAIT_S)
        if begun:
            goes_on.set()
            assert greeted.wait(WAIT_S)
        client.close()
        goes_on.set()
        with pytest.raises(RpcError, match="client is closed"):
            future.result(WAIT_S)
        assert ended.wait(WAIT_S / 2)  # we have hung up


def test_geerpc_gets_an_option_that_go_reads_to_its_end() -> None:
    seen: list[bytes] = []

    def gee(sock: socket.socket) -> None:
        head = read_exactly(sock, FILLED_OPTION_BYTES)
        seen.append(head)
        stream = ServerStream("geerpc", 1 << 20)
        assert stream.feed(head)
        while data := sock.recv(65536):
            stream.feed(data)
            while (message := stream.next_message()) is not None:
                sock.sendall(answered(stream, message))

    with Peers(gee) as peers:
        assert call(peers.address, wire="geerpc") == 4
    assert len(seen[0]) == 512
    assert seen[0].endswith(b" }")
    assert json.loads(seen[0])["CodecType"] == "application/gob"


@pytest.mark.parametrize("codec", ["gob", "json", "msgpack"])
def test_geerpc_at_a_server_of_tinyrpc_names_the_other_dialect(address: str, codec: str) -> None:
    error = failure(address, wire="geerpc", codec=codec)
    assert error.errno == Errno.BAD_RESPONSE
    assert error.text.startswith(f"{address}: reply cannot be read: ")
    assert "wire = tinyrpc" in error.text
    assert "wires = geerpc" in error.text
    with RpcServer("127.0.0.1:0", wires=("geerpc",)) as there:
        there.add_object(Foo(), name="Foo")
        assert call(there.address, wire="geerpc", codec=codec) == 4


def test_the_other_dialect_is_known_in_any_pieces() -> None:
    def tcp(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_exactly(sock, FILLED_OPTION_BYTES)
        with suppress(OSError):
            for at in range(len(OPTION)):
                sock.sendall(OPTION[at : at + 1])
            read_to_end(sock)

    with Peers(tcp) as peers:
        assert "wire = tinyrpc" in failure(peers.address, wire="geerpc").text
