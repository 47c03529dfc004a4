"""What the contract suite needs of a registry, and what its tests look at.

An adapter joins the suite with a `Harness` and a test file of its own::

    class ZooKeeperHarness(Harness): ...

    @pytest.fixture(scope="module")
    def harness(zookeeper_kept): yield ZooKeeperHarness(...)

    @pytest.mark.usefixtures("zookeeper")
    class TestZooKeeper(AnnounceContract): ...
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import Endpoint, EndpointSet
from libevrpc.core.targets import Target, parse_target
from libevrpc.registry.base import Announcement, LoadSample, Registrar, Resolver
from libevrpc.registry.opening import open_registrar, open_resolver
from libevrpc.settings import ClientSettings, ServerSettings
from unit_test.registry.contract import announce_process

WAIT_S = 40.0
"""Longest wait for what must happen; nothing is measured against it."""
LOAD = LoadSample(0.1, 0.1, 1 << 20, 0, 0.0, 0)
LOOK_S = 0.02
PATIENT_S = 60.0
OUTAGE_S = float(os.environ.get("LIBEVRPC_TEST_OUTAGE_S", "0"))
"""An outage lasts until it has been noticed, and this long: 60 is worth a run by hand."""
NOTHING_YET = ("has not answered within", "no answer yet")
"""What resolvers say while their first question is on its way."""

_ports = itertools.count(1)
_names = itertools.count(1)


def new_service(what: str = "Echo") -> str:
    """Return a service's name that nobody used before: registries keep what earlier tests said."""
    return f"contract.p{os.getpid()}.{what}{next(_names)}"


def load() -> LoadSample:
    """Say how busy a server is that does nothing."""
    return LOAD


class Harness(ABC):
    """A real registry of one kind, running from the making of this object to `close`.

    Attributes:
        name: for messages.
        expiry_s: a server that crashed is out of the list about this much later.
        cannot: what this kind of registry cannot do by its nature -> why. The documents say so.
    """

    name: str
    expiry_s: float = 2.0
    cannot: Mapping[str, str] = {}

    @abstractmethod
    def target(self, service: str = "") -> str:
        """Return the target string; naming a service if one is given and it can."""

    @abstractmethod
    def down(self) -> None:
        """Let the registry die, with what it keeps in memory alone."""

    def silence(self) -> None:
        """Let it stop answering in the way that costs least, as where its process is frozen."""
        self.down()

    @abstractmethod
    def up(self) -> None:
        """Let it answer again, with what it keeps of its own; nothing happens if it does."""

    @contextmanager
    def outage(self, *, dead: bool = False) -> Iterator[None]:
        """Be down for a block, for OUTAGE_S at least, and back after it; `dead`: and not frozen."""
        if dead:
            self.down()
        else:
            self.silence()
        try:
            yield
            threading.Event().wait(OUTAGE_S)
        finally:
            self.up()

    def lose_sessions(self) -> None:
        """Let the registry forget every session or lease, though the servers live."""
        raise AssertionError(f"{self.name}: see `cannot`")

    @abstractmethod
    def close(self) -> None:
        """End it."""

    def new_address(self) -> str:
        """Return an address that no other test announces; nobody listens there."""
        return f"127.0.0.1:{next(_ports)}"

    def same_weight(self, told: float, announced: float) -> bool:
        """Tell whether `told` is how this registry says `announced`."""
        return told == announced

    def parsed(self) -> Target:
        """Return the target as adapters get it."""
        return parse_target(self.target())

    def server_settings(self, folder: Path) -> ServerSettings:
        """Return settings of a server that announces itself here."""
        return ServerSettings(state_dir=str(folder), report_s=0.2)

    def client_settings(self, folder: Path) -> ClientSettings:
        """Return settings of a client that looks here."""
        return ClientSettings(state_dir=str(folder))

    def registrar(self, folder: Path) -> Registrar:
        """Return the server's side."""
        return open_registrar(self.parsed(), self.server_settings(folder))

    def patient_registrar(self, folder: Path) -> Registrar:
        """Return one of many that share a busy processor: none may expire for want of its turn."""
        patient = re.sub(r"(expiry|every)=[0-9.]+", rf"\1={PATIENT_S:g}", self.target())
        return open_registrar(parse_target(patient), self.server_settings(folder))

    def resolver(self, service: str, folder: Path) -> Resolver:
        """Return the client's side."""
        return open_resolver(self.parsed(), service, self.client_settings(folder))


class Watched:
    """A client's view of one service: every list that its resolver told."""

    def __init__(self, resolver: Resolver) -> None:
        self.lists: list[EndpointSet] = []
        self._changed = threading.Condition()
        self.resolver = resolver
        resolver.start(self._take)

    def _take(self, endpoints: EndpointSet) -> None:
        with self._changed:
            self.lists.append(endpoints)
            self._changed.notify_all()

    @property
    def now(self) -> tuple[Endpoint, ...]:
        """The servers told last that may be called; nobody before the first list.

        Weight 0 is how centers say "not if there is anybody else": a server that is suspect, or
        that has said goodbye.
        """
        lists = self.lists
        return tuple(each for each in lists[-1].endpoints if each.weight) if lists else ()

    @property
    def addresses(self) -> set[str]:
        """Their addresses."""
        return {each.address for each in self.now}

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until `holds` of what was told.

        Raises:
            AssertionError: it did not in time; the text has the list.
        """
        until_s = monotonic_s() + WAIT_S
        with self._changed:
            while not holds():
                if monotonic_s() > until_s:
                    text = f"not within {WAIT_S:g} s: {what}; told: {self.now[:5]}"
                    raise AssertionError(f"{text}; trouble: {self.resolver.trouble()}")
                self._changed.wait(LOOK_S)  # not all that is waited for is told

    def until_down(self) -> None:
        """Wait until the resolver knows that the registry is down, not only nothing from it yet."""

        def known() -> bool:
            text = str(self.resolver.trouble() or NOTHING_YET[0])
            return not any(each in text for each in NOTHING_YET)

        self.until(known, "the registry is known to be down")

    def until_addresses(self, *addresses: str) -> None:
        """Wait until exactly these servers are told."""
        self.until(lambda: self.addresses == set(addresses), f"the servers are {addresses}")

    def one(self, address: str) -> Endpoint | None:
        """Return what is told of one server; None: nothing."""
        return next((each for each in self.now if each.address == address), None)


@contextmanager
def watched(harness: Harness, service: str, folder: Path) -> Iterator[Watched]:
    """Watch a service, until the end of the block."""
    view = Watched(harness.resolver(service, folder))
    try:
        yield view
    finally:
        view.resolver.close()


@contextmanager
def announced(harness: Harness, announcement: Announcement, folder: Path) -> Iterator[Registrar]:
    """Announce a server, and take it back at the end of the block."""
    registrar = harness.registrar(folder)
    registrar.start(announcement, load)
    try:
        yield registrar
    finally:
        registrar.withdraw(2.0)
        registrar.close()


class AnnouncingProcess:
    """A process that announces one server until it is killed."""

    def __init__(self, harness: Harness, announcement: Announcement, folder: Path) -> None:
        words = (harness.target(), str(folder), announcement.address, *announcement.services)
        self._child = subprocess.Popen(
            [sys.executable, announce_process.__file__, *words],
            stdin=subprocess.PIPE,  # it ends with us
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
        )

    def kill(self) -> None:
        """Let it crash: SIGKILL. Any number of times."""
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()
        assert self._child.stdin is not None
        self._child.stdin.close()

    def __enter__(self) -> AnnouncingProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
