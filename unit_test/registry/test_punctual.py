"""One deadline for a question, whatever a name leads to and however its answer trickles in."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import Any

import pytest

from libevrpc.channel import dial as dial_module
from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import Endpoint, parse_endpoint
from libevrpc.core.http1 import HttpAnswerReader
from libevrpc.registry import etcd_gateway, http_link
from libevrpc.registry.etcd_gateway import EtcdGateway
from libevrpc.registry.punctual import PunctualSocket, dial_by
from libevrpc.registry.session import RegistryError
from unit_test.fix_peers import Peers
from unit_test.fix_rpc import WAIT_S
from unit_test.registry.etcd.relay import plan_for

pytestmark = pytest.mark.live


def test_a_member_whose_head_trickles_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_gateway, "ASK_S", 0.3)
    given_up, ended = threading.Event(), threading.Event()
    answer = b'{"header":{"cluster_id":"7"}}'

    def trickle(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Long: " % len(answer))
        for _ in range(400):
            if given_up.wait(0.01):
                return
            sock.sendall(b"x")
        ended.set()
        sock.sendall(b"\r\n\r\n" + answer)

    with Peers(trickle) as peers, closing(EtcdGateway(plan_for(peers.address), 5.0)) as gateway:
        with pytest.raises(RegistryError, match="no answer in time"):
            gateway.ask("/v3/lease/grant", {})
        assert not ended.is_set()
        given_up.set()


def test_an_answer_that_goes_on_behind_the_deadline_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of it has come by the time that its first part is read, so that no read waits."""
    monkeypatch.setattr(http_link, "RECEIVE_BYTES", 100)
    sent = threading.Event()

    class Slow(HttpAnswerReader):
        def receive(self, data: bytes) -> Any:
            assert sent.wait(WAIT_S)
            threading.Event().wait(0.1)
            return super().receive(data)

    def answer(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(1000))
        sent.set()
        sock.recv(1)

    monkeypatch.setattr(http_link, "HttpAnswerReader", Slow)
    with Peers(answer) as peers:
        link = http_link.HttpLink(parse_endpoint(peers.address), "/", {})
        with pytest.raises(RegistryError, match="no answer within 0.3 s"):
            link.ask("GET", {}, timeout_s=0.3)


def test_a_dead_resolver_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    lookup = dial_module._lookup  # noqa: SLF001 - the system's resolver itself cannot be stopped

    def dead(endpoint: Endpoint, flags: int) -> Any:
        if not flags:
            over.wait(WAIT_S)
        return lookup(endpoint, socket.AI_NUMERICHOST)

    monkeypatch.setattr(dial_module, "_lookup", dead)
    try:
        with pytest.raises(OSError, match=r"cannot resolve: no answer within 0\.[0-9]+ s"):
            dial_by(Endpoint("registry.invalid", 1), monotonic_s() + 0.05)
    finally:
        over.set()


def test_all_addresses_of_a_name_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queues of all are full: who connects there waits."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address):
            found = [(socket.AF_INET, address)] * 16
            monkeypatch.setattr(dial_module, "_lookup", lambda *_: found)
            connects: list[float] = []
            connect = dial_module._connect  # noqa: SLF001 - what each address is given

            def noting(family: Any, where: Any, timeout_s: float) -> Any:
                connects.append(timeout_s)
                return connect(family, where, timeout_s)

            monkeypatch.setattr(dial_module, "_connect", noting)
            with pytest.raises(TimeoutError):
                dial_by(Endpoint("registry.invalid", 1), monotonic_s() + 0.2)
            assert connects
            assert sum(connects) <= 0.2


def test_no_time_is_no_connection() -> None:
    with pytest.raises(TimeoutError):
        dial_by(Endpoint("127.0.0.1", 1), monotonic_s())
    with closing(PunctualSocket()) as sock, pytest.raises(TimeoutError):
        sock.expect_by(monotonic_s())
