"""A client of mprpc's providers: real ones of ours, and peers that answer byte for byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from libevrpc import ClientController, ConfigError, RpcClient, RpcError, RpcServer, StatusCode
from libevrpc import UsageError as Misuse
from libevrpc.core.mprpc import encode_request
from unit_test.client.restarts import failed_while_restarting
from unit_test.fix_net import free_port
from unit_test.fix_peers import Peers, read_exactly, reset
from unit_test.fix_rpc import ECHO, WAIT_S, EchoHandler, body, echo_pb2, request, wait_until

pytestmark = pytest.mark.live
WIRES = ["mprpc", "mprpc-be"]
LOGIN = encode_request("echo.EchoService", "Echo", body("zhang san"))
LOGIN_BE = encode_request("echo.EchoService", "Echo", body("zhang san"), "big")


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def handler() -> EchoHandler:
    return EchoHandler()


@pytest.fixture
def address(handler: EchoHandler, wire: str) -> Iterator[str]:
    with RpcServer("127.0.0.1:0", wires=(wire,)) as server:
        server.add_service(handler, ECHO)
        yield server.address
        handler.release.set()


def reply_of(text: str) -> bytes:
    encoded: bytes = echo_pb2.EchoResponse(response=text).SerializeToString()
    return encoded


@pytest.mark.parametrize("size", [0, 3584, 3 * 1024 * 1024])
def test_calls_of_a_real_server(address: str, wire: str, size: int) -> None:
    with RpcClient(address, wire=wire) as client:
        echo = client.stub(ECHO).Echo
        assert echo(request("x" * size)).response == "x" * size
        assert echo.future(request("x" * size)).result(WAIT_S).response == "x" * size


def test_many_calls_at_once(address: str, wire: str) -> None:
    with RpcClient(address, wire=wire) as client:
        echo = client.stub(ECHO).Echo
        futures = [echo.future(request(str(number)), timeout_s=WAIT_S) for number in range(100)]
        assert [each.result(WAIT_S).response for each in futures] == [str(n) for n in range(100)]
        failed: list[BaseException] = []

        def caller() -> None:
            try:
                assert [echo(request(str(n))).response for n in range(20)] == list(
                    map(str, range(20))
                )
            except BaseException as exc:  # noqa: BLE001 - looked at below
                failed.append(exc)

        threads = [threading.Thread(target=caller) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed


def test_a_caller_has_the_place_of_its_last_call(address: str, wire: str) -> None:
    with RpcClient(address, wire=wire, calls_per_connection_max=1) as client:
        echo = client.stub(ECHO).Echo
        for number in range(50):
            assert echo(request(str(number))).response == str(number)
        for _ in range(5):
            with pytest.raises(RpcError) as failed:
                echo(request("raise"))
            assert failed.value.errno == 1009
        held = echo.future(request("hold"), timeout_s=WAIT_S)
        with pytest.raises(RpcError, match="1 calls are in flight to .* already") as failed:
            echo(request("one too many"))
        assert failed.value.errno == 2004
        held.cancel()


def test_a_oneway_call_runs_to_its_end(address: str, wire: str, handler: EchoHandler) -> None:
    with RpcClient(address, wire=wire) as client:
        client.stub(ECHO).Echo.oneway(request("told"))
    wait_until(lambda: handler.calls == ["told"])


def test_a_failing_handler_is_told_as_a_reset(wire: str, address: str) -> None:
    with RpcClient(address, wire=wire) as client, pytest.raises(RpcError) as caught:
        client.stub(ECHO).Echo(request("raise"))
    assert caught.value.code is StatusCode.UNAVAILABLE


def test_a_deadline_is_kept_and_the_server_hears_of_it(
    address: str, wire: str, handler: EchoHandler
) -> None:
    with RpcClient(address, wire=wire) as client:
        while not handler.entered.is_set():  # its time may be over before a worker has it
            with pytest.raises(RpcError) as caught:
                client.stub(ECHO).Echo(request("until cancelled"), timeout_s=0.1)
            assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
        assert handler.cancelled.wait(WAIT_S)


def test_a_cancelled_call_is_cancelled_on_the_server(
    address: str, wire: str, handler: EchoHandler
) -> None:
    with RpcClient(address, wire=wire) as client:
        future = client.stub(ECHO).Echo.future(request("until cancelled"), timeout_s=WAIT_S)
        assert handler.entered.wait(WAIT_S)
        assert future.cancel()
        wait_until(future.cancelled)
        assert handler.cancelled.wait(WAIT_S)


def test_the_bytes_of_a_call() -> None:
    asked: list[bytes] = []

    def provider(sock: socket.socket) -> None:
        asked.append(read_exactly(sock, len(LOGIN)))
        sock.sendall(reply_of("welcome"))

    with Peers(provider) as peers, RpcClient(peers.address, wire="mprpc") as client:
        controller = ClientController()
        reply = client.stub(ECHO).Echo(request("zhang san"), controller=controller)
        assert reply.response == "welcome"
        assert controller.peer == peers.address
        assert not controller.failed()
    assert asked == [LOGIN]


def test_a_reply_without_a_byte_is_the_empty_message() -> None:
    with (
        Peers(lambda sock: read_exactly(sock, len(LOGIN))) as peers,
        RpcClient(peers.address, wire="mprpc") as client,
    ):
        assert client.stub(ECHO).Echo(request("zhang san")) == echo_pb2.EchoResponse()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "closed the connection before the end of its reply"),
        (b"\0\0\0", "closed the connection before the end of its reply"),
        (b"\0\0\0\x05abc", "closed the connection before the end of its reply"),
        (b"\0\0\0\x02abc", "7 bytes came for a reply of 2"),
        (b"\x7f\0\0\0", "reply of 2130706432 bytes, limit"),
    ],
)
def test_a_counted_reply_that_is_not_what_it_says(answer: bytes, told: str) -> None:
    def provider(sock: socket.socket) -> None:
        assert read_exactly(sock, len(LOGIN_BE)) == LOGIN_BE
        sock.sendall(answer)

    with (
        Peers(provider) as peers,
        RpcClient(peers.address, wire="mprpc-be") as client,
        pytest.raises(RpcError, match=told),
    ):
        client.stub(ECHO).Echo(request("zhang san"), idempotent=False)
    assert peers.accepted == 1


def test_garbage_is_refused_by_name() -> None:
    def provider(sock: socket.socket) -> None:
        read_exactly(sock, len(LOGIN))
        sock.sendall(b"\xff\xff\xff\xff garbage")

    with (
        Peers(provider) as peers,
        RpcClient(peers.address, wire="mprpc") as client,
        pytest.raises(RpcError, match=r"reply is not an echo\.EchoResponse") as caught,
    ):
        client.stub(ECHO).Echo(request("zhang san"))
    assert caught.value.errno == 2002


@pytest.mark.parametrize("idempotent", [True, False])
def test_only_idempotent_calls_are_repeated_after_a_reset(idempotent: bool) -> None:
    def provider(sock: socket.socket) -> None:
        read_exactly(sock, len(LOGIN))
        if peers.accepted == 1:
            reset(sock)
        else:
            sock.sendall(reply_of("again"))

    with Peers(provider) as peers, RpcClient(peers.address, wire="mprpc") as client:
        echo = client.stub(ECHO).Echo
        if idempotent:
            assert echo(request("zhang san"), idempotent=True).response == "again"
        else:
            with pytest.raises(RpcError, match="reset by peer .how our mprpc servers tell"):
                echo(request("zhang san"), idempotent=False)
    assert peers.accepted == (2 if idempotent else 1)


@pytest.mark.parametrize("balancer", ["p2c", "round_robin", "random", "weighted", "vnode"])
def test_what_nobody_took_goes_to_another_server(wire: str, balancer: str) -> None:
    handlers = [EchoHandler() for _ in range(2)]
    servers = [RpcServer("127.0.0.1:0", wires=(wire,)) for _ in handlers]
    for server, handler in zip(servers, handlers, strict=True):
        server.add_service(handler, ECHO, inline=True)
        server.start()
    target = f"list://127.0.0.1:{free_port()}," + ",".join(each.address for each in servers)
    try:
        with RpcClient(target, wire=wire, balancer=balancer) as client:
            echo = client.stub(ECHO).Echo
            for number in range(30):
                assert echo(request(str(number)), key=str(number)).response == str(number)
    finally:
        for server in servers:
            server.stop(0.0)
    assert all(each.calls for each in handlers)


def test_no_call_fails_while_servers_restart(wire: str) -> None:
    def start(address: str) -> RpcServer:
        server = RpcServer(address, wires=(wire,))
        server.add_service(EchoHandler(), ECHO)
        server.start()
        return server

    def call(client: RpcClient) -> None:
        client.stub(ECHO).Echo(request("x"), idempotent=True)

    assert not failed_while_restarting(start, wire, call)


def test_what_the_wire_has_no_room_for_is_refused() -> None:
    with RpcClient("127.0.0.1:9", wire="mprpc") as client:
        with pytest.raises(Misuse, match=r"call Foo\.Sum by a stub"):
            client.call("Foo.Sum", 1)
        for name, value in (("attachment", b"x"), ("metadata", {"a": "b"}), ("log_id", 1)):
            controller: Any = ClientController()
            setattr(controller, name, value)
            with pytest.raises(Misuse, match=f"controller.{name}: only wire = prpc"):
                client.stub(ECHO).Echo(request("x"), controller=controller)
    with pytest.raises(ConfigError, match="only prpc has room for compress"):
        RpcClient("127.0.0.1:9", wire="mprpc", compress="gzip")
    with pytest.raises(ConfigError, match="must be one of: prpc, mprpc"):
        RpcClient("127.0.0.1:9", wire="mrpc")


def test_in_mprpcs_tree_each_method_is_looked_up() -> None:
    for target, looked in (
        ("zk://127.0.0.1:9?layout=mprpc", "EchoService/Echo"),
        ("zk://127.0.0.1:9", "echo.EchoService"),
        ("127.0.0.1:9", "echo.EchoService"),
    ):
        with RpcClient(target, wire="mprpc") as client:
            assert client.stub(ECHO).Echo.spec.lookup == looked
