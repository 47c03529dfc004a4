"""A client of TinyRPC's and gee-rpc's servers: ours, and peers that answer byte for byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from libevrpc import (
    ClientController,
    ConfigError,
    Errno,
    RpcClient,
    RpcError,
    RpcServer,
    StatusCode,
)
from libevrpc import UsageError as Misuse
from libevrpc.core.tinyrpc import ClientStream, Message, Option, ServerStream
from libevrpc.core.tinyrpc_codecs import Header
from unit_test.client.restarts import failed_while_restarting
from unit_test.client.tiny import Args, answered, serve
from unit_test.fix_net import free_port
from unit_test.fix_peers import Peers, read_exactly
from unit_test.fix_rpc import ECHO, WAIT_S, wait_until

pytestmark = pytest.mark.live


@dataclass
class Friends:
    names: list[str]
    ages: dict[str, int]


class Foo:
    """What the original's sample serves, and a little more."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.calls = 0

    def sum(self, args: Args) -> int:
        self.calls += 1
        return args.Num1 + args.Num2

    def sleep(self, args: Args) -> int:
        self.release.wait(WAIT_S)
        return args.Num1 + args.Num2

    def fail(self, args: Args) -> int:
        raise ValueError("boom")

    def friends(self, count: int) -> Friends:
        names = [f"friend {number}" for number in range(count)]
        return Friends(names, {name: len(name) for name in names})

    def echo(self, data: bytes) -> bytes:
        return data

    Sum, Sleep, Fail, Friends, Echo = sum, sleep, fail, friends, echo


@pytest.fixture
def foo() -> Foo:
    return Foo()


@pytest.fixture
def address(foo: Foo) -> Iterator[str]:
    with RpcServer("127.0.0.1:0", workers=8) as server:
        server.add_object(foo, name="Foo")
        yield server.address
        foo.release.set()


ways = pytest.mark.parametrize("wire", ["tinyrpc", "tinyrpc-http", "geerpc-http"])
codecs = pytest.mark.parametrize("codec", ["gob", "json", "msgpack"])


@ways
@codecs
def test_typed_calls_of_a_real_server(address: str, wire: str, codec: str) -> None:
    with RpcClient(address, wire=wire, codec=codec) as client:
        assert client.call("Foo.Sum", Args(1, 3), result=int) == 4
        assert client.call("Foo.Sum", SimpleNamespace(Num1=1, Num2=3)) == 4
        future = client.future("Foo.Friends", 3, result=Friends)
        assert future.result(WAIT_S) == Friends(
            ["friend 0", "friend 1", "friend 2"], {f"friend {n}": 8 for n in range(3)}
        )
        assert client.call("Foo.Echo", b"x" * 3_000_000, result=bytes) == b"x" * 3_000_000
        with pytest.raises(RpcError, match="boom") as caught:
            client.call("Foo.Fail", Args(1, 2))
        assert caught.value.code is StatusCode.UNKNOWN
        with pytest.raises(RpcError, match="can't find service Bar"):
            client.call("Bar.Sum", Args(1, 2))
        with pytest.raises(RpcError, match="can't find method Sub"):
            client.call("Foo.Sub", Args(1, 2))
        assert client.call("Foo.Sum", Args(5, 6), result=int) == 11


def test_what_defines_a_type_leaves_before_what_uses_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two threads the first has written its request, and with it the type, and is held up."""
    write = ClientStream.request
    written, told = threading.Event(), threading.Event()

    def hesitating(self: ClientStream, method: str, seq: int, body: Sized) -> bytes:
        frame = write(self, method, seq, body)
        if method == "Foo.Sum" and not written.is_set():
            written.set()
            told.wait(0.3)  # the other one's call, if it did not wait for us
        return frame

    with RpcClient(address, wire="tinyrpc", codec="gob") as client:
        client.call("Foo.Echo", b"connects")
        monkeypatch.setattr(ClientStream, "request", hesitating)
        first: list[int] = []
        thread = threading.Thread(
            target=lambda: first.append(client.call("Foo.Sum", Args(1, 2), result=int))
        )
        thread.start()
        assert written.wait(WAIT_S)
        second = client.call("Foo.Sum", Args(3, 4), result=int)
        told.set()
        thread.join(WAIT_S)
    assert (first, second) == ([3], 7)


@codecs
def test_many_calls_share_a_connection(address: str, codec: str, foo: Foo) -> None:
    with RpcClient(address, wire="tinyrpc", codec=codec) as client:
        futures = [
            client.future("Foo.Sum", Args(n, n * n), result=int, timeout_s=WAIT_S)
            for n in range(200)
        ]
        assert [each.result(WAIT_S) for each in futures] == [n + n * n for n in range(200)]
        failed: list[BaseException] = []

        def caller() -> None:
            try:
                for n in range(50):
                    assert client.call("Foo.Sum", Args(n, 1), result=int) == n + 1
            except BaseException as exc:  # noqa: BLE001 - looked at below
                failed.append(exc)

        threads = [threading.Thread(target=caller) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed


def test_oneway_calls_arrive(address: str, foo: Foo) -> None:
    with RpcClient(address, wire="tinyrpc") as client:
        for _ in range(5):
            client.oneway("Foo.Sum", Args(1, 2))
        client.call("Foo.Sum", Args(1, 2))
        client.oneway("Foo.Sum", Args(1, 2))
        wait_until(lambda: foo.calls == 7)


def test_a_deadline_is_the_callers_and_its_late_reply_is_skipped(address: str, foo: Foo) -> None:
    with RpcClient(address, wire="tinyrpc") as client:
        with pytest.raises(RpcError, match="rpc client: call failed: deadline reached") as caught:
            client.call("Foo.Sleep", Args(1, 2), timeout_s=0.1)
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
        slow = client.future("Foo.Sleep", Args(1, 2), timeout_s=0.1)
        with pytest.raises(RpcError, match="rpc client: call failed: deadline reached"):
            slow.result(WAIT_S)
        foo.release.set()
        assert [client.call("Foo.Sum", Args(n, 1), result=int) for n in range(5)] == [
            1, 2, 3, 4, 5,
        ]  # fmt: skip


def test_the_servers_patience_is_told_it_with_the_option(address: str) -> None:
    with RpcClient(address, wire="tinyrpc", handle_timeout_s=0.1) as client:
        told = "rpc server: request handle timeout: expect within 100ms"
        with pytest.raises(RpcError, match=told) as caught:
            client.call("Foo.Sleep", Args(1, 2), timeout_s=WAIT_S)
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("garbage", [b"\x01\xff" * 40, b"GARBAGE!" * 10, b"\x00"])
def test_garbage_fails_the_calls_and_the_next_one_dials_anew(garbage: bytes) -> None:
    def script(stream: ServerStream, message: Message) -> bytes:
        return garbage if peers.accepted == 1 else answered(stream, message)

    with Peers(serve(script)) as peers, RpcClient(peers.address, wire="tinyrpc") as client:
        with pytest.raises(RpcError) as caught:
            client.call("Foo.Sum", Args(1, 3))
        assert caught.value.errno == Errno.BAD_RESPONSE
        assert client.call("Foo.Sum", Args(1, 3), result=int) == 4


def test_a_dead_connection_fails_its_calls_by_name() -> None:
    asked = threading.Semaphore(0)
    hang_up = threading.Event()

    def three(sock: socket.socket) -> None:
        stream = ServerStream("tinyrpc", 1 << 20)
        count = 0
        while count < 3:
            if stream.feed(sock.recv(65536)):
                sock.sendall(stream.welcome())
            while stream.next_message() is not None:
                count += 1
                asked.release()
        hang_up.wait(WAIT_S)

    with Peers(three) as peers, RpcClient(peers.address, wire="tinyrpc") as client:
        futures = [client.future("Foo.Sum", Args(1, 3), timeout_s=WAIT_S) for _ in range(3)]
        assert all(asked.acquire(timeout=WAIT_S) for _ in range(3))
        hang_up.set()
        for future in futures:
            with pytest.raises(RpcError, match="closed the connection") as caught:
                future.result(WAIT_S)
            assert caught.value.code is StatusCode.UNAVAILABLE


@pytest.mark.parametrize("http", [False, True])
def test_a_server_that_stops_gives_notice_as_a_failure_of_call_0(http: bool) -> None:
    """Go's clients skip it, since no call of theirs has that number."""
    foo = Foo()
    server = RpcServer("127.0.0.1:0")
    server.add_object(foo, name="Foo")
    server.start()
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), WAIT_S) as sock:
        stream = ClientStream("tinyrpc", Option(), 1 << 20)
        if http:
            sock.sendall(b"CONNECT /_tinyrpc_ HTTP/1.0\n\n")
            read_exactly(sock, 31)
        sock.sendall(stream.hello())
        while not stream.ready:
            stream.feed(sock.recv(4096))
        sock.sendall(stream.request("Foo.Sleep", 1, stream.encode_body(Args(1, 2))))
        wait_until(lambda: server.statistics().in_flight == 1)
        stopping = threading.Thread(target=server.stop, args=(60.0,))
        stopping.start()
        assert received(stream, sock).header == Header("", 0, "server is stopping")
        sock.sendall(stream.request("Foo.Sum", 2, stream.encode_body(Args(1, 2))))
        assert received(stream, sock).header == Header("Foo.Sum", 2, "server is stopping")
        foo.release.set()
        assert received(stream, sock).body.decode(int) == 3
    stopping.join(WAIT_S)
    assert not stopping.is_alive()


def received(stream: ClientStream, sock: socket.socket) -> Message:
    while (message := stream.next_message()) is None:
        data = sock.recv(4096)
        assert data, "the server closed the connection"
        stream.feed(data)
    return message


def test_a_result_of_another_type_is_refused(address: str) -> None:
    with RpcClient(address, wire="tinyrpc") as client:
        with pytest.raises(RpcError, match=r"reply of Foo\.Sum") as caught:
            client.call("Foo.Sum", Args(1, 2), result=Friends)
        assert caught.value.errno == Errno.BAD_RESPONSE
        with pytest.raises(Misuse):
            client.call("Foo.Sum", Args(1, 2), result=threading.Lock)
        assert client.call("Foo.Sum", Args(1, 2), result=int) == 3


def test_what_the_wire_has_no_room_for_is_refused(address: str) -> None:
    with RpcClient(address, wire="tinyrpc") as client:
        for arguments, keywords in (((), {}), ((1, 2), {}), ((), {"a": 1})):
            with pytest.raises(Misuse, match="exactly one argument"):
                client.call("Foo.Sum", *arguments, **keywords)
        with pytest.raises(RpcError, match="argument: "):
            client.call("Foo.Sum", object())
        with pytest.raises(Misuse, match="1024 bytes"):
            client.call("Foo." + "S" * 1024, 1)
        with pytest.raises(Misuse, match=r'client\.call\("EchoService\.Echo"'):
            client.stub(ECHO)
        controller = ClientController()
        controller.attachment = b"x"
        with pytest.raises(Misuse, match="only wire = prpc"):
            client.call("Foo.Sum", Args(1, 2), controller=controller)
    with pytest.raises(ConfigError, match="must be one of: gob, json, msgpack"):
        RpcClient(address, wire="tinyrpc", codec="xml")
    with RpcClient(address, wire="tinyrpc", body_bytes_max=8192) as client:
        with pytest.raises(RpcError, match="limit") as caught:
            client.call("Foo.Echo", b"x" * 9000)
        assert caught.value.errno == Errno.BAD_REQUEST


def test_a_reply_beyond_the_limit_breaks_the_connection(address: str) -> None:
    with RpcClient(address, wire="tinyrpc", body_bytes_max=65536) as client:
        with pytest.raises(RpcError, match="limit 65536") as caught:
            client.call("Foo.Friends", 20_000)
        assert caught.value.errno == Errno.BAD_RESPONSE
        assert client.call("Foo.Sum", Args(1, 2), result=int) == 3


def test_what_the_server_does_not_read_is_bounded() -> None:
    release = threading.Event()

    def stuck(sock: socket.socket) -> None:
        stream = ServerStream("tinyrpc", 1 << 20)
        while not stream.feed(sock.recv(4096)):
            pass
        sock.sendall(stream.welcome())
        release.wait(WAIT_S)

    with (
        Peers(stuck) as peers,
        RpcClient(peers.address, wire="tinyrpc", unsent_bytes_max=65536, retries_max=0) as client,
    ):
        futures = [client.future("Foo.Echo", b"x" * 1_000_000, timeout_s=WAIT_S) for _ in range(60)]
        with pytest.raises(RpcError, match="too much is waiting to be sent") as caught:
            futures[-1].result(WAIT_S)
        assert caught.value.errno == Errno.OVERCROWDED
        assert not futures[0].done()
        release.set()


@pytest.mark.parametrize("balancer", ["p2c", "round_robin", "random", "weighted", "vnode"])
def test_every_balancer_leads_over_this_wire(balancer: str) -> None:
    objects = [Foo() for _ in range(2)]
    servers = [RpcServer("127.0.0.1:0") for _ in objects]
    for server, each in zip(servers, objects, strict=True):
        server.add_object(each, name="Foo", inline=True)
        server.start()
    target = f"list://127.0.0.1:{free_port()}," + ",".join(each.address for each in servers)
    try:
        with RpcClient(target, wire="tinyrpc", balancer=balancer) as client:
            for n in range(30):
                assert client.call("Foo.Sum", Args(n, 1), result=int, key=str(n)) == n + 1
    finally:
        for server in servers:
            server.stop(0.0)
    assert all(each.calls for each in objects)


@pytest.mark.parametrize("wire", ["tinyrpc", "tinyrpc-http"])
def test_no_call_fails_while_servers_restart(wire: str) -> None:
    def start(address: str) -> RpcServer:
        server = RpcServer(address)
        server.add_object(Foo(), name="Foo")
        server.start()
        return server

    def call(client: RpcClient) -> None:
        client.call("Foo.Sum", Args(1, 1))

    assert not failed_while_restarting(start, wire, call)


def test_a_probe_needs_no_call() -> None:
    """A server that was set aside comes back though the wire has no heartbeat."""
    port = free_port()
    with RpcServer("127.0.0.1:0") as steady:
        steady.add_object(Foo(), name="Foo")
        target = f"list://127.0.0.1:{port},{steady.address}"
        with RpcClient(target, wire="tinyrpc", balancer="round_robin") as client:
            for _ in range(4):
                assert client.call("Foo.Sum", Args(1, 1), result=int) == 2
            back = Foo()
            with RpcServer(f"127.0.0.1:{port}") as late:
                late.add_object(back, name="Foo")

                def comes_back() -> bool:
                    client.call("Foo.Sum", Args(1, 1))
                    return back.calls > 0

                wait_until(comes_back)
