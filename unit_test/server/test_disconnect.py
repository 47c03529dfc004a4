"""The end of a connection, as a service hears of it."""

from __future__ import annotations

import queue
import socket
import threading

import pytest

from libevrpc import RpcServer, ServerController
from libevrpc.core.objects import ContentType, encode_arguments
from libevrpc.core.prpc_encode import encode_request

pytestmark = pytest.mark.live
WAIT_S = 5.0


class Porter:
    """Tells who came, and who went."""

    def __init__(self) -> None:
        self.gone: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.kept: list[bool] = []

    def enter(self, name: str, key: str, controller: ServerController) -> bool:
        kept = controller.on_disconnect(key, lambda: self.gone.put(name))
        self.kept.append(kept)
        return kept


def enter(sock: socket.socket, name: str, key: str) -> None:
    body = encode_arguments((name, key), {}, ContentType.MSGPACK)
    sock.sendall(
        encode_request(
            "Porter", "enter", 1, body, timeout_ms=5000, content_type=ContentType.MSGPACK
        )
    )
    assert sock.recv(4096).startswith(b"PRPC")


@pytest.mark.parametrize("inline", [True, False])
def test_a_hook_runs_once_when_its_connection_ends(inline: bool) -> None:
    porter = Porter()
    server = RpcServer("127.0.0.1:0")
    server.add_object(porter, inline=["enter"] if inline else False)
    with server:
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), WAIT_S) as sock:
            enter(sock, "first", "a")
            enter(sock, "second", "a")
            enter(sock, "third", "b")
            assert porter.gone.empty()
        assert sorted(porter.gone.get(timeout=WAIT_S) for _ in range(2)) == ["second", "third"]
    assert porter.gone.empty()


def test_a_connection_has_a_bounded_number_of_hooks() -> None:
    porter = Porter()
    server = RpcServer("127.0.0.1:0")
    server.add_object(porter, inline=True)
    with server:
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), WAIT_S) as sock:
            for number in range(65):
                enter(sock, "x", str(number))
            enter(sock, "x", "0")
    assert porter.kept == [True] * 64 + [False, True]


def test_a_hook_after_the_end_is_refused() -> None:
    held: list[ServerController] = []
    entered = threading.Event()
    gone = threading.Event()

    class Keeper:
        def keep(self, controller: ServerController) -> None:
            held.append(controller)
            controller.on_disconnect("end", gone.set)
            entered.set()

    server = RpcServer("127.0.0.1:0")
    server.add_object(Keeper())
    with server:
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), WAIT_S) as sock:
            body = encode_arguments((), {}, ContentType.MSGPACK)
            sock.sendall(
                encode_request(
                    "Keeper", "keep", 1, body, timeout_ms=5000, content_type=ContentType.MSGPACK
                )
            )
            assert entered.wait(WAIT_S)
        assert gone.wait(WAIT_S)
        assert not held[0].on_disconnect("late", gone.clear)
    assert gone.is_set()
