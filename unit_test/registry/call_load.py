"""Servers that announce themselves, a client that finds them, and calls that never pause."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from libevrpc import RpcClient, RpcError, RpcServer
from unit_test.fix_rpc import Foo, wait_until

WITHIN_S = 40.0
"""Longest wait for a cluster that has lost a member."""


class CallLoad:
    """Two servers of `service` at `target`, and one client of it."""

    def __init__(self, target: str, service: str, folder: Path) -> None:
        self.target = target
        self.service = service
        self._folder = folder
        self.servers = [self.serve(), self.serve()]
        self.client = self.new_client()
        self.calls = 0
        self.failed: list[RpcError] = []
        self._done = threading.Event()
        self._caller = threading.Thread(target=self._call)

    def serve(self) -> RpcServer:
        """Start one more server."""
        server = RpcServer(
            "127.0.0.1:0",
            threads=1,
            workers=2,
            drain_s=0.0,
            registry=self.target,
            state_dir=str(self._folder),
        )
        server.add_object(Foo(), self.service)
        server.start()
        return server

    def new_client(self) -> RpcClient:
        return RpcClient(self.target, state_dir=str(self._folder), timeout_s=10.0)

    def start(self) -> None:
        self.client.call(f"{self.service}.Sum", 1, 2)
        self.require_all()
        self._caller.start()

    @property
    def announced(self) -> set[str]:
        return {each.address for each in self.servers}

    @property
    def known(self) -> set[str]:
        return {each.address for each in self.client.endpoints(self.service)}

    def some_more(self) -> None:
        """Wait until further calls have gone through."""
        calls = self.calls
        wait_until(lambda: self.calls > calls + 50)

    def require_all(self) -> None:
        """Wait until the client knows every server: one whose session has expired comes back."""
        wait_until(lambda: self.known == self.announced, WITHIN_S)

    def require_news(self, weight: float) -> None:
        """Change a server's weight and wait until the client has heard of it."""
        address = self.servers[0].address
        self.servers[0].announce(weight=weight)

        def heard() -> bool:
            found = {each.address: each for each in self.client.endpoints(self.service)}
            assert set(found) <= self.announced
            return address in found and found[address].weight == weight

        wait_until(heard, WITHIN_S)

    def _call(self) -> None:
        while not self._done.wait(0.002):
            try:
                assert self.client.call(f"{self.service}.Sum", 1, 2) == 3
                self.calls += 1
            except RpcError as exc:
                self.failed.append(exc)

    def stop(self) -> None:
        self._done.set()
        if self._caller.ident is not None:
            self._caller.join()
        self.client.close()
        for server in self.servers:
            server.stop()


@contextmanager
def call_load(target: str, service: str, folder: Path) -> Iterator[CallLoad]:
    """Call until the end of the block; none may have failed."""
    made = CallLoad(target, service, folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
    assert made.calls > 0
    assert made.failed == []
