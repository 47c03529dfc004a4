"""A plain client's view of ZooKeeper's tree, and sides of our adapter driven without threads."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kazoo.client import KazooClient

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import EndpointSet
from libevrpc.core.targets import Target, parse_target
from libevrpc.registry.base import Announcement
from libevrpc.registry.zookeeper import ZooKeeperAnnounceSession, ZooKeeperWatchSession
from libevrpc.registry.zookeeper_layouts import plan_of
from libevrpc.registry.zookeeper_link import SharedSession, acquire_session, release_session
from unit_test.fix_peers import read_to_end
from unit_test.fix_rpc import WAIT_S, wait_until

logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # the plain client's; ours has none

EXPIRY_S = 6
"""Long enough that a busy machine breaks no connection."""
SHORT_S = 1
"""The shortest that tests' servers grant."""
PAUSE = threading.Event()
"""Never set."""
_numbers = itertools.count()


def new_name(prefix: str) -> str:
    """Return a name that no other test uses."""
    return f"{prefix}{os.getpid()}x{next(_numbers)}"


def target_of(hosts: str, expiry: float = EXPIRY_S, **options: object) -> Target:
    """Return a target with options."""
    spelled = "".join(f"&{key}={value}" for key, value in options.items())
    return parse_target(f"zk://{hosts}?expiry={expiry}{spelled}")


@contextmanager
def plain_client(hosts: str, **options: Any) -> Iterator[Any]:
    """Give a client of kazoo's own; its session ends with the block."""
    client = KazooClient(hosts, timeout=EXPIRY_S, **options)
    client.start()
    try:
        yield client
    finally:
        client.stop()
        client.close()


@contextmanager
def announcing(target: Target, announcement: Announcement) -> Iterator[ZooKeeperAnnounceSession]:
    """Announce in a session that this thread drives."""
    session = ZooKeeperAnnounceSession(target)
    try:
        session.open()
        session.put(announcement)
        yield session
    finally:
        session.close()


@contextmanager
def watching(target: Target, service: str) -> Iterator[ZooKeeperWatchSession]:
    """Watch in a session that this thread drives."""
    session = ZooKeeperWatchSession(target, service)
    try:
        session.open()
        yield session
    finally:
        session.close()


@contextmanager
def sharing(target: Target) -> Iterator[SharedSession]:
    """Hold the session that everybody else with this target has."""

    def listener(path: str | None) -> None:
        pass

    session = acquire_session(plan_of(target), listener)
    try:
        session.ready(10.0)
        yield session
    finally:
        release_session(session, listener)


def expire(hosts: str, session: SharedSession) -> None:
    """End a session as if the one server had: by moving it to a second connection, and closing it.

    Both is said in one breath: whoever is thrown out comes back, and takes his session with him.
    """
    host, _, port = hosts.rpartition(":")
    epoch = session.epoch
    while session.epoch == epoch:
        wait_until(lambda: session.connected and session.id)
        number, password = session._client.client_id  # noqa: SLF001 - what only the thief needs
        connect = struct.pack(">iqiqi", 0, 0, 10_000, number, len(password)) + password + b"\0"
        close = struct.pack(">ii", 1, -11)
        with socket.create_connection((host, int(port)), WAIT_S) as thief:
            thief.sendall(
                b"".join(struct.pack(">i", len(said)) + said for said in (connect, close))
            )
            read_to_end(thief)
        noticed_by_s = monotonic_s() + 1.0
        while session.epoch == epoch and monotonic_s() < noticed_by_s:
            PAUSE.wait(0.01)


def addresses(session: ZooKeeperWatchSession) -> list[str]:
    """Ask who offers the service now."""
    return sorted(each.address for each in session.fetch())


def changes(session: ZooKeeperWatchSession) -> list[str]:
    """Wait for a change and ask who offers the service then."""
    wait_until(lambda: session.wait(1.0))
    return addresses(session)


def beat_until(session: ZooKeeperAnnounceSession, holds: Any) -> None:
    """Beat until something holds."""

    def look() -> bool:
        session.wake()
        session.beat(1.0)
        return bool(holds())

    wait_until(look)


class Told:
    """What a resolver tells."""

    def __init__(self) -> None:
        self.sets: list[EndpointSet] = []

    def __call__(self, told: EndpointSet) -> None:
        self.sets.append(told)

    @property
    def addresses(self) -> list[str]:
        return [each.address for each in self.sets[-1].endpoints] if self.sets else []
