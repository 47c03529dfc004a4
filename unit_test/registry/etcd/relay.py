"""A link to one member of etcd that can be cut, or hush up what watches tell."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
from types import TracebackType
from typing import Self

from libevrpc.core.endpoints import parse_endpoint
from libevrpc.registry.etcd_layouts import EtcdPlan, OwnLayout
from unit_test.fix_peers import Peers

PIECE_BYTES = 65536


def plan_for(*addresses: str, layout: OwnLayout | None = None, expiry_s: int = 2) -> EtcdPlan:
    """Return what a target of these members asks for."""
    endpoints = tuple(parse_endpoint(each) for each in addresses)
    return EtcdPlan(endpoints, layout or OwnLayout(), expiry_s)


class Relay:
    """Carries connections to one address.

    Attributes:
        address: where it listens.
        watches: how many watches were asked for through it.
        closed: new connections are closed at once.
        holds: transactions go no further before `let_go`, whoever waits for them.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._peers = Peers(self._carry)
        self._links: dict[socket.socket, None] = {}
        self.address = self._peers.address
        self.watches = 0
        self._hushed = 0
        self.closed = False
        self.holds = False
        self.held: list[bytes] = []

    def let_go(self) -> list[bytes]:
        """Pass on what was held, though nobody waits for it; return etcd's answers."""
        self.holds = False
        answers = []
        for each in self.held:
            with socket.create_connection(self._target) as far:
                far.sendall(each)
                with http.client.HTTPResponse(far) as response:
                    response.begin()
                    answers.append(response.read())
        self.held.clear()
        return answers

    def cut(self) -> None:
        """Break every connection, and take no new ones."""
        self.closed = True
        for each in list(self._links):
            with contextlib.suppress(OSError):  # it has just ended by itself
                each.shutdown(socket.SHUT_RDWR)

    def hush(self) -> None:
        """Throw away what etcd tells on the watches that there are."""
        self._hushed = self.watches

    def _carry(self, near: socket.socket) -> None:
        if self.closed:
            return
        with socket.create_connection(self._target) as far:
            self._links[near] = None
            try:
                self._pass(near, far)
            finally:
                del self._links[near]

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        watch = 0
        while True:
            for sock in select.select([near, far], [], [])[0]:
                data = sock.recv(PIECE_BYTES)
                if not data:
                    return
                if sock is near:
                    if data.startswith(b"POST /v3/watch "):
                        self.watches += 1
                        watch = self.watches
                    if self.holds and data.startswith(b"POST /v3/kv/txn "):
                        self._hold(near, data)
                        return
                    far.sendall(data)
                elif not 0 < watch <= self._hushed:
                    near.sendall(data)

    def _hold(self, near: socket.socket, data: bytes) -> None:
        """Keep a request, and its connection until the client gives it up."""
        while more := near.recv(PIECE_BYTES):
            data += more
        self.held.append(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._peers.__exit__(kind, error, trace)
