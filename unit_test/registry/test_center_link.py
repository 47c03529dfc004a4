"""Calls to centers: what becomes of answers, and of centers that cannot be asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from libevrpc.core.prpc import Request
from libevrpc.core.prpc_encode import encode_reply
from libevrpc.gen import center_pb2
from libevrpc.registry import center_link as module
from libevrpc.registry.center_link import CenterLink
from unit_test.channel.test_connection import Fake
from unit_test.fix_net import free_port
from unit_test.fix_rpc import WAIT_S, Serving

pytestmark = pytest.mark.live


@pytest.fixture
def link() -> Iterator[CenterLink]:
    made = CenterLink(lambda center: None)
    yield made
    made.close()


def ask(link: CenterLink, center: str) -> tuple[Any, str]:
    answers: list[tuple[Any, str]] = []
    link.ask(
        center,
        "Places",
        center_pb2.PlacesRequest(address="a:1"),
        center_pb2.PlacesResponse,
        2.0,
        lambda response, why: answers.append((response, why)),
    )
    while not answers:
        link.events.get(timeout=WAIT_S)()
    return answers[0]


def test_who_is_no_center_is_a_failure_with_its_reason(link: CenterLink, serving: Serving) -> None:
    response, why = ask(link, serving.address)
    assert response is None
    assert "no service 'evrpc.Center'" in why
    assert why.endswith("; not a center")
    response, why = ask(link, f"127.0.0.1:{free_port()}")
    assert response is None
    assert "Connection refused" in why
    response, why = ask(link, "not an address")
    assert response is None
    assert "address" in why


def test_unreadable_answers_are_failures(link: CenterLink) -> None:
    def answer(sock: socket.socket, request: Request) -> None:
        sock.sendall(encode_reply(request.correlation_id, b"\xff\xff"))

    server = Fake(answer)
    response, why = ask(link, server.address)
    server.close()
    assert response is None
    assert "unreadable answer" in why


def test_center_used_longest_ago_makes_room(
    link: CenterLink, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANNELS_MAX", 1)
    port = serving.address.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "127.0.0.1"):
        assert "no service" in ask(link, f"{host}:{port}")[1]
