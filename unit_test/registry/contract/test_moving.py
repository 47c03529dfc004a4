"""A running service moves from one registry to another, under calls, and loses none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from libevrpc import RpcClient, RpcError, RpcServer
from unit_test.registry.contract.test_contract_center import OneCenter

pytestmark = pytest.mark.live
WAIT_S = 20.0


class Foo:
    """What is served."""

    def sum(self, one: int, two: int) -> int:
        return one + two


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OneCenter]]:
    """Give two registries that know nothing of each other."""
    with ExitStack() as stack:
        made = []
        for name in ("old", "new"):
            folder = tmp_path_factory.mktemp(name)
            made.append(OneCenter(folder, 1, folder / "compiled"))
            stack.callback(made[-1].close)
            made[-1].start()  # both at once
        for each in made:
            each.leader()
        yield made


class Caller:
    """A client that calls without a pause, and keeps count."""

    def __init__(self, target: str, folder: Path) -> None:
        self._client = RpcClient(target, state_dir=str(folder), timeout_s=WAIT_S)
        self._stop = threading.Event()
        self.calls = 0
        self.failures: list[object] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                found = self._client.call("Foo.sum", self.calls, 1)
                if found != self.calls + 1:
                    self.failures.append(found)
            except RpcError as exc:
                self.failures.append(exc)
            self.calls += 1

    def until_known(self, *servers: RpcServer) -> None:
        """Wait until the client knows these servers, then until more calls have gone through."""
        addresses = {server.address for server in servers}
        pause = threading.Event()
        while not addresses <= {each.address for each in self._client.endpoints("Foo")}:
            pause.wait(0.01)
        until = self.calls + 50
        while self.calls < until:
            pause.wait(0.01)

    def close(self) -> None:
        """End. Any number of times."""
        self._stop.set()
        self._thread.join()
        self._client.close()


def server_at(registry: str | list[str], folder: Path) -> RpcServer:
    server = RpcServer(
        "127.0.0.1:0", threads=1, registry=registry, report_s=0.2, state_dir=str(folder)
    )
    server.add_object(Foo())
    server.start()
    return server


def test_servers_first_then_clients_then_the_old_registry_goes(
    clusters: list[OneCenter], tmp_path: Path
) -> None:
    old, new = (f"center://{each.hosts()}" for each in clusters)
    with ExitStack() as stack:

        def serve(registry: str | list[str], name: str) -> RpcServer:
            server = server_at(registry, tmp_path / name)
            stack.callback(server.stop, 0.0)
            return server

        def call(target: str, name: str) -> Caller:
            caller = Caller(target, tmp_path / name)
            stack.callback(caller.close)
            return caller

        def restart(number: int, registry: str | list[str], caller: Caller, name: str) -> None:
            replacement = serve(registry, name)
            caller.until_known(replacement)
            servers[number].stop()
            servers[number] = replacement

        servers = [serve(old, "s1"), serve(old, "s2")]
        first = call(old, "c1")
        first.until_known(*servers)
        for number in (0, 1):  # 1. each server restarts and announces itself in both
            restart(number, [old, new], first, f"s{number + 3}")
        second = call(new, "c2")  # 2. each client moves
        second.until_known(*servers)
        first.close()
        for number in (0, 1):  # 3. each server leaves the old one
            restart(number, new, second, f"s{number + 5}")
        clusters[0].nodes[1].kill()  # 4. nobody misses it
        second.until_known(*servers)
        assert (first.failures, second.failures) == ([], [])
