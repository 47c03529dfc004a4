"""Who begins or leaves waits for no member that is frozen: a wake ends what is being asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from libevrpc.registry import etcd_gateway, etcd_layouts
from libevrpc.registry.etcd import SPENT_MAX, EtcdAnnounceSession
from libevrpc.registry.etcd_watch import EtcdWatchSession
from unit_test.fix_peers import Peers
from unit_test.registry.etcd.relay import plan_for
from unit_test.registry.hurry import ends

pytestmark = pytest.mark.live

HEADER = '"header":{"cluster_id":"7","revision":"1"}'


class Frozen:
    """Two members: they answer what stands in `answers`, and nothing else."""

    def __init__(self) -> None:
        self.answers: dict[bytes, str] = {}
        self.asked: list[bytes] = []

    def __call__(self, sock: socket.socket) -> None:
        while data := sock.recv(65536):
            path = data.split(b" ", 2)[1]
            self.asked.append(path)
            body = self.answers.get(path)
            if body is not None:
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                sock.sendall((head + body).encode())


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Frozen, tuple[str, str]]]:
    """Give members that time alone would end a question to in a minute."""
    monkeypatch.setattr(etcd_gateway, "ASK_S", 60.0)
    monkeypatch.setattr(etcd_layouts, "ANSWER_MAX_S", 60.0)
    script = Frozen()
    with Peers(script) as one, Peers(script) as other:
        yield script, (one.address, other.address)


def test_a_server_that_stops_waits_for_no_answer(frozen: tuple[Frozen, tuple[str, str]]) -> None:
    script, members = frozen
    session = EtcdAnnounceSession(plan_for(*members, expiry_s=600))
    ends(session.open, lambda: script.asked, session.wake)
    script.answers[b"/v3/lease/grant"] = f'{{{HEADER},"ID":"5","TTL":"600"}}'
    session.open()
    ends(session.remove, lambda: b"/v3/lease/revoke" in script.asked, session.wake)
    script.answers[b"/v3/lease/revoke"] = f"{{{HEADER}}}"
    session.remove()
    session.close()


def test_a_client_that_is_closed_waits_for_no_answer(
    frozen: tuple[Frozen, tuple[str, str]],
) -> None:
    script, members = frozen
    session = EtcdWatchSession(plan_for(*members, expiry_s=600), "a.Foo")
    ends(session.open, lambda: script.asked, session.wake)
    script.answers[b"/v3/kv/range"] = f"{{{HEADER}}}"
    ends(session.open, lambda: b"/v3/watch" in script.asked, session.wake)
    session.close()


def test_earlier_leases_are_kept_in_bounds(
    frozen: tuple[Frozen, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comes with each transaction that nobody answers, and none can be ended meanwhile."""
    script, members = frozen
    session = EtcdAnnounceSession(plan_for(*members, expiry_s=600))
    leases = iter(range(1, 100))
    monkeypatch.setattr(session, "_granted", lambda: next(leases))
    monkeypatch.setattr(session, "_end_spent", lambda: None)
    for _ in range(30):
        session._gateway.astray = True  # noqa: SLF001
        session._change_lease()  # noqa: SLF001
    assert session._spent == list(range(30 - SPENT_MAX, 30))  # noqa: SLF001
    assert session._lease == 30  # noqa: SLF001
    script.answers[b"/v3/lease/revoke"] = f"{{{HEADER}}}"
    session.close()
