"""ZooKeeper as a subject: ephemeral nodes below one folder, children watched. Uses kazoo."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError
from kazoo.handlers.threading import KazooTimeoutError

from compare.node import ServiceError
from compare.subject import VALUE_BYTES, Ended, FirstWrite, Subject, Watcher, pipelined
from compare.zookeeper import ZooKeeperCluster, ZooKeeperProfile

__all__ = ["ZooKeeperSubject", "zookeeper_client"]

FOLDER = "/compare"
VALUE = b"x" * VALUE_BYTES
RECONNECT = {"max_tries": -1, "delay": 0.005, "backoff": 1, "max_jitter": 0.0, "max_delay": 0.01}
"""As eager as our own client in these measurements."""
CALL_S = 30.0
PAUSE_S = 0.005
SESSION_TICKS_MAX = 20

logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # it logs each refused connection


def zookeeper_client(address: str, timeout_s: float) -> Any:
    """Make a client that connects to one server and keeps trying."""
    return KazooClient(hosts=address, timeout=timeout_s, connection_retry=dict(RECONNECT))


class ZooKeeperSubject(Subject):
    """See `Subject`."""

    errors = (KazooException, KazooTimeoutError)

    def __init__(self, folder: Path, profile: ZooKeeperProfile, owner_timeout_s: float) -> None:
        self.cluster: ZooKeeperCluster = ZooKeeperCluster(folder, 3, profile)
        self.owner_timeout_s = owner_timeout_s
        self._session_s = min(10.0, SESSION_TICKS_MAX * profile.tick_ms / 1000.0)
        self._clients: dict[int, Any] = {}
        self._connected: list[Any] = []
        self._numbers = itertools.count()
        self._many: list[str] = []

    def connect(self, nodes: Sequence[int]) -> None:
        """See `Subject.connect`."""
        self.disconnect()
        for each in nodes:
            client = zookeeper_client(self.cluster.address(each), self._session_s)
            self._clients[each] = client
            self._connected.append(client.start_async())

    def await_connected(self) -> None:
        """See `Subject.await_connected`."""
        if not all(each.wait(CALL_S) for each in self._connected):
            raise ServiceError(f"no connection within {CALL_S:g} s\n{self.cluster.logs()}")

    def disconnect(self) -> None:
        """See `Subject.disconnect`."""
        for client in self._clients.values():
            client.stop()
            client.close()
        self._clients, self._connected = {}, []

    def first_write(self, nodes: Sequence[int], within_s: float) -> FirstWrite:
        """See `Subject.first_write`: sets of one node's value, read back."""
        moments: list[float] = []
        done = threading.Event()

        def write(node: int) -> None:
            path, client = f"/first-{node}-{next(self._numbers)}", self._clients[node]
            while not done.is_set():
                try:
                    with suppress(NodeExistsError):  # made by a try whose answer was lost
                        client.create_async(path, VALUE).get(timeout=within_s)
                    if client.get_async(path).get(timeout=within_s)[0] == VALUE:
                        moments.append(time.monotonic())
                        done.set()
                except (KazooException, KazooTimeoutError):
                    done.wait(PAUSE_S)

        threads = [threading.Thread(target=write, args=(each,), daemon=True) for each in nodes]
        for thread in threads:
            thread.start()
        if not done.wait(within_s):
            done.set()
            raise ServiceError(f"no write within {within_s:g} s\n{self.cluster.logs()}")
        return FirstWrite(moments[0])

    def watch(self, node: int) -> Watcher:
        """See `Subject.watch`: the event names nobody, so the children are read anew."""
        watcher, client = Watcher(), self._clients[node]
        client.ensure_path(FOLDER)

        def look(names: list[str]) -> None:
            watcher.told(names)

        client.ChildrenWatch(FOLDER, look)
        return watcher

    def new_name(self) -> str:
        """See `Subject.new_name`."""
        return f"name-{next(self._numbers)}"

    def register(self, node: int, name: str) -> None:
        """See `Subject.register`."""
        self._clients[node].create_async(f"{FOLDER}/{name}", VALUE, ephemeral=True).get(CALL_S)

    def withdraw(self, node: int, name: str) -> None:
        """See `Subject.withdraw`: a session's clean end is one such transaction, too."""
        self._clients[node].delete_async(f"{FOLDER}/{name}").get(timeout=CALL_S)

    def owner(self, name: str) -> list[str]:
        """See `Subject.owner`."""
        script = str(Path(__file__).with_name("owner.py"))
        timeout = str(self.owner_timeout_s)
        return [sys.executable, script, "zookeeper", self.cluster.hosts(), name, timeout]

    def register_many(self, node: int, count: int) -> float:
        """See `Subject.register_many`."""
        self._many = [f"{FOLDER}/{self.new_name()}" for _ in range(count)]
        client = self._clients[node]

        def created(end: Ended) -> Callable[[Any], None]:
            def tell(answer: Any) -> None:
                there = isinstance(answer.exception, NodeExistsError)  # by an unanswered try
                end(None if there else answer.exception)

            return tell

        def begin(number: int, end: Ended) -> None:
            answer = client.create_async(self._many[number], VALUE, ephemeral=True)
            answer.rawlink(created(end))

        return pipelined(count, begin)

    def update_many(self, node: int, count: int) -> float:
        """See `Subject.update_many`."""
        client = self._clients[node]

        def begin(number: int, end: Ended) -> None:
            answer = client.set_async(self._many[number % len(self._many)], VALUE)
            answer.rawlink(lambda each: end(each.exception))

        return pipelined(count, begin)
