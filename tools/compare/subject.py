"""What is measured, in words that fit ZooKeeper, etcd and our centers alike."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from compare.cluster import Cluster
from compare.node import ServiceError

__all__ = ["VALUE_BYTES", "WINDOW", "Ended", "FirstWrite", "Subject", "Watcher", "pipelined"]

VALUE_BYTES = 200
"""What a registration and a load report carry."""
WINDOW = 500
"""How many of them are under way at once."""
PIPELINE_S = 60.0
"""Longest a measured pipeline may take."""
AGAIN_S = 0.1
"""How soon failed requests of a pipeline are sent again."""


class Watcher:
    """The names registered now, as one node tells. Waits: one thread; telling: any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._names: frozenset[str] = frozenset()
        self._since_s: dict[str, float] = {}

    def told(self, names: Iterable[str]) -> None:
        """Take the full set of names, as of now."""
        now_s = time.monotonic()
        with self._changed:
            new = frozenset(names)
            for each in self._names ^ new:
                self._since_s[each] = now_s
            self._names = new
            self._changed.notify_all()

    def changed(self, name: str, present: bool) -> None:
        """Take one change, as of now. One thread at a time."""
        self.told(self._names | {name} if present else self._names - {name})

    def await_name(self, name: str, present: bool, within_s: float) -> float:
        """Wait until the name is there, or not; returns the moment it was told.

        Raises:
            ServiceError: it was not told in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: (name in self._names) == present, within_s):
                raise ServiceError(f"{name}: present={present} not told within {within_s:g} s")
            return self._since_s.get(name, time.monotonic())

    def missing(self, names: Iterable[str], within_s: float) -> frozenset[str]:
        """Wait until all these names are there at once; returns those that are not."""
        wanted = frozenset(names)
        with self._changed:
            self._changed.wait_for(lambda: wanted <= self._names, within_s)
            return wanted - self._names


@dataclass(frozen=True, slots=True)
class FirstWrite:
    """When a write was committed after a fault, on the monotonic clock.

    Attributes:
        visible_s: read back at the node that took it.
        served_s: first map of a newer epoch at a survivor; None where there are no epochs.
    """

    visible_s: float
    served_s: float | None = None


class Subject(ABC):
    """One system under test: a cluster and its clients. One thread, but for what it starts.

    Attributes:
        cluster: three nodes, not yet started.
        errors: what its client library raises.
        owner_timeout_s: how long an owner may be silent before it counts as gone.
    """

    cluster: Cluster
    errors: tuple[type[Exception], ...]
    owner_timeout_s: float

    @abstractmethod
    def connect(self, nodes: Sequence[int]) -> None:
        """Make a client for each of the nodes, in place of those before; does not wait."""

    @abstractmethod
    def await_connected(self) -> None:
        """Wait until every client has had an answer."""

    @abstractmethod
    def disconnect(self) -> None:
        """End all clients and watchers."""

    @abstractmethod
    def first_write(self, nodes: Sequence[int], within_s: float) -> FirstWrite:
        """Write through each of the nodes until one write is committed and read back there."""

    @abstractmethod
    def watch(self, node: int) -> Watcher:
        """Watch the registered names at a node; ends with `disconnect`."""

    @abstractmethod
    def new_name(self) -> str:
        """Return a name that was never registered."""

    def new_owned_name(self) -> str:
        """Return one for `owner`."""
        return self.new_name()

    @abstractmethod
    def register(self, node: int, name: str) -> None:
        """Register a name, to be gone with its owner; returns once it was taken."""

    @abstractmethod
    def withdraw(self, node: int, name: str) -> None:
        """Say goodbye for a name that `register` registered."""

    @abstractmethod
    def owner(self, name: str) -> list[str]:
        """Return the command line of a process that registers the name and keeps it."""

    @abstractmethod
    def register_many(self, node: int, count: int) -> float:
        """Register `count` new names, WINDOW at once; returns seconds until all are committed."""

    @abstractmethod
    def update_many(self, node: int, count: int) -> float:
        """Send `count` new values for those names, WINDOW at once; seconds until all are taken."""


Ended = Callable[[BaseException | None], None]


def pipelined(count: int, begin: Callable[[int, Ended], None]) -> float:
    """Run `count` requests, WINDOW at once; returns how long it took, seconds.

    Those that fail are run again, as clients do that outlive a change of the leader.

    Args:
        count: how many.
        begin: starts one by its number; calls what it is given with None, or with an error,
            once, from any thread.

    Raises:
        ServiceError: all together took too long; the text names an error, if there was one.
    """
    began_s = time.monotonic()
    numbers: Sequence[int] = range(count)
    while True:
        failed = _run_once(numbers, begin, began_s + PIPELINE_S)
        if not failed:
            return time.monotonic() - began_s
        if time.monotonic() > began_s + PIPELINE_S:
            error = next(iter(failed.values()))
            raise ServiceError(f"{len(failed)} of {count} requests failed, one with: {error!r}")
        time.sleep(AGAIN_S)
        numbers = sorted(failed)


def _run_once(
    numbers: Sequence[int], begin: Callable[[int, Ended], None], until_s: float
) -> dict[int, BaseException]:
    """Run each once; returns those that failed.

    Raises:
        ServiceError: some had not ended at `until_s`.
    """
    free = threading.Semaphore(WINDOW)
    failed: dict[int, BaseException] = {}

    def take_place() -> None:
        if not free.acquire(timeout=max(0.0, until_s - time.monotonic())):
            raise ServiceError(f"{len(numbers)} requests took over {PIPELINE_S:g} s")

    def end(number: int, error: BaseException | None) -> None:
        if error is not None:
            failed[number] = error
        free.release()

    for number in numbers:
        take_place()
        begin(number, partial(end, number))
    for _ in range(WINDOW):
        take_place()
    return failed
