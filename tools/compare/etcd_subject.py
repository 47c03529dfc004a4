"""etcd as a subject: keys under leases below one prefix, watched. Uses grpcio."""

from __future__ import annotations

import itertools
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc

from compare.etcd import EtcdCluster, EtcdProfile
from compare.etcd_wire import EtcdApi, message
from compare.node import ServiceError
from compare.subject import VALUE_BYTES, Ended, FirstWrite, Subject, Watcher, pipelined

__all__ = ["EtcdSubject"]

PREFIX = b"compare/"
PREFIX_END = b"compare0"
VALUE = b"x" * VALUE_BYTES
AGAIN_S = 0.01
CALL_S = 30.0
LEASE_S = 600

PUT = message("PutRequest")
RANGE = message("RangeRequest")
GRANT = message("LeaseGrantRequest")
REVOKE = message("LeaseRevokeRequest")
WATCH = message("WatchRequest")


class EtcdSubject(Subject):
    """See `Subject`."""

    errors = (grpc.RpcError,)

    def __init__(self, folder: Path, profile: EtcdProfile, owner_timeout_s: float) -> None:
        self.cluster: EtcdCluster = EtcdCluster(folder, 3, profile)
        self.owner_timeout_s = owner_timeout_s
        self._apis: dict[int, EtcdApi] = {}
        self._watching: list[threading.Thread] = []
        self._closing = threading.Event()
        self._numbers = itertools.count()
        self._leases: dict[str, int] = {}
        self._many: list[bytes] = []

    def connect(self, nodes: Sequence[int]) -> None:
        """See `Subject.connect`."""
        self.disconnect()
        self._apis = {each: EtcdApi(self.cluster.address(each)) for each in nodes}
        self._closing = threading.Event()

    def await_connected(self) -> None:
        """See `Subject.await_connected`."""
        read = RANGE(key=b"x", serializable=True)
        for api in self._apis.values():
            api.range(read, timeout=CALL_S, wait_for_ready=True)

    def disconnect(self) -> None:
        """See `Subject.disconnect`."""
        self._closing.set()
        for api in self._apis.values():
            api.close()
        for thread in self._watching:
            thread.join(CALL_S)
        self._apis, self._watching = {}, []

    def first_write(self, nodes: Sequence[int], within_s: float) -> FirstWrite:
        """See `Subject.first_write`: puts until one answers, read back at that node.

        A put that the dead leader has swallowed is answered late or never, so a new one goes
        out each AGAIN_S.
        """
        done: queue.SimpleQueue[int] = queue.SimpleQueue()
        key = f"first-{next(self._numbers)}".encode()
        until_s = time.monotonic() + within_s
        waiting: list[Any] = []
        node = None
        while node is None:
            if time.monotonic() > until_s:
                raise ServiceError(f"no write within {within_s:g} s\n{self.cluster.logs()}")
            for each in nodes:
                future = self._apis[each].put.future(PUT(key=key, value=VALUE), timeout=within_s)
                future.add_done_callback(_teller(done, each))
                waiting.append(future)
            try:
                node = done.get(timeout=AGAIN_S)
            except queue.Empty:
                waiting = [each for each in waiting if not each.done()]
        read = RANGE(key=key, serializable=True)
        while not self._apis[node].range(read, timeout=CALL_S).kvs:
            pass
        visible_s = time.monotonic()
        for each in waiting:
            each.cancel()
        return FirstWrite(visible_s)

    def watch(self, node: int) -> Watcher:
        """See `Subject.watch`."""
        watcher = Watcher()
        request = WATCH()
        request.create_request.key = PREFIX
        request.create_request.range_end = PREFIX_END
        answers = self._apis[node].watch(_held_open(request, self._closing))
        next(answers)  # "created": what comes from now on is told
        thread = threading.Thread(target=_follow, args=(answers, watcher), daemon=True)
        thread.start()
        self._watching.append(thread)
        return watcher

    def new_name(self) -> str:
        """See `Subject.new_name`."""
        return f"name-{next(self._numbers)}"

    def register(self, node: int, name: str) -> None:
        """See `Subject.register`: a lease, then a key under it."""
        api = self._apis[node]
        lease = api.lease_grant(GRANT(TTL=LEASE_S), timeout=CALL_S).ID
        self._leases[name] = lease
        api.put(PUT(key=PREFIX + name.encode(), value=VALUE, lease=lease), timeout=CALL_S)

    def withdraw(self, node: int, name: str) -> None:
        """See `Subject.withdraw`."""
        self._apis[node].lease_revoke(REVOKE(ID=self._leases.pop(name)), timeout=CALL_S)

    def owner(self, name: str) -> list[str]:
        """See `Subject.owner`."""
        script = str(Path(__file__).with_name("owner.py"))
        timeout = str(self.owner_timeout_s)
        return [sys.executable, script, "etcd", self.cluster.hosts(), name, timeout]

    def register_many(self, node: int, count: int) -> float:
        """See `Subject.register_many`: each a lease and a key."""
        self._many = [PREFIX + self.new_name().encode() for _ in range(count)]
        api = self._apis[node]

        def begin(number: int, end: Ended) -> None:
            def granted(answer: Any) -> None:
                if answer.exception() is not None:
                    end(answer.exception())
                    return
                request = PUT(key=self._many[number], value=VALUE, lease=answer.result().ID)
                put = api.put.future(request, timeout=CALL_S)
                put.add_done_callback(lambda each: end(each.exception()))

            grant = api.lease_grant.future(GRANT(TTL=LEASE_S), timeout=CALL_S)
            grant.add_done_callback(granted)

        return pipelined(count, begin)

    def update_many(self, node: int, count: int) -> float:
        """See `Subject.update_many`."""
        api = self._apis[node]

        def begin(number: int, end: Ended) -> None:
            request = PUT(key=self._many[number % len(self._many)], value=VALUE)
            put = api.put.future(request, timeout=CALL_S)
            put.add_done_callback(lambda each: end(each.exception()))

        return pipelined(count, begin)


def _teller(done: queue.SimpleQueue[int], node: int) -> Callable[[Any], None]:
    """Return what says which node has answered well."""

    def tell(future: Any) -> None:
        if not future.cancelled() and future.exception() is None:
            done.put(node)

    return tell


def _held_open(request: Any, closing: threading.Event) -> Iterator[Any]:
    """Yield one request and keep the stream open until the end."""
    yield request
    closing.wait()


def _follow(answers: Any, watcher: Watcher) -> None:
    """Pass on what the stream says, until the channel ends."""
    try:
        for answer in answers:
            for event in answer.events:
                name = event.kv.key.removeprefix(PREFIX).decode()
                watcher.changed(name, present=event.type == 0)
    except (grpc.RpcError, ValueError):  # the channel was closed
        return
