"""The contract on `dns://`: a person writes the zone, the system's resolver is a test's."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from libevrpc.core.targets import parse_target
from libevrpc.errors import ConfigError
from libevrpc.registry import dns
from libevrpc.registry.base import Announcement, LoadSample, Resolver
from libevrpc.registry.opening import open_registrar, open_resolver
from libevrpc.settings import ServerSettings
from unit_test.registry.contract.harness import Harness
from unit_test.registry.contract.suite import ListContract

PORT = 7
_hosts = itertools.count(1)


class DnsHarness(Harness):
    """A zone in memory, one name per service."""

    name = "dns"
    cannot: ClassVar = {
        "announce": "servers do not write zones",
        "expire": "nobody notices a crash but who calls",
        "empty": "a name without addresses is taken for a resolver in trouble",
        "weight": "addresses have none",
    }

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._zone: dict[str, set[str]] = {}
        self._down = False
        self.asked = 0

    def target(self, service: str = "x.test") -> str:
        return f"dns://{service}:{PORT}?every=0.1"

    def down(self) -> None:
        self._down = True

    def up(self) -> None:
        self._down = False

    def close(self) -> None:
        self._zone.clear()

    def new_address(self) -> str:
        number = next(_hosts)
        return f"127.1.{number >> 8}.{number & 255}:{PORT}"

    def registrar(self, folder: Path) -> ZoneFile:
        return ZoneFile(self)

    patient_registrar = registrar

    def resolver(self, service: str, folder: Path) -> Resolver:
        return open_resolver(
            parse_target(self.target(service)), service, self.client_settings(folder)
        )

    def change(self, services: tuple[str, ...], address: str, *, there: bool) -> None:
        host = address.partition(":")[0]
        with self._lock:
            for service in services:
                hosts = self._zone.setdefault(service.lower(), set())
                (hosts.add if there else hosts.discard)(host)

    def addresses_of(self, host: str) -> list[str]:
        """Answer as the system would."""
        with self._lock:
            self.asked += 1
            found = self._zone.get(host)
            if self._down:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return sorted(found)


class ZoneFile:
    """Writes one server into the zone, and strikes it out. See `Registrar`."""

    def __init__(self, harness: DnsHarness) -> None:
        self._harness = harness
        self._announcement: Announcement | None = None

    def start(self, announcement: Announcement, sample: Callable[[], LoadSample]) -> None:
        self.update(announcement)

    def update(self, announcement: Announcement) -> None:
        self._announcement = announcement
        self._harness.change(announcement.services, announcement.address, there=True)

    def withdraw(self, timeout_s: float) -> bool:
        assert self._announcement is not None
        self._harness.change(self._announcement.services, self._announcement.address, there=False)
        return True

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def harness() -> Iterator[Harness]:
    made = DnsHarness()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dns, "addresses_of", made.addresses_of)
        yield made
    made.close()


class TestDns(ListContract):
    """See `suite.py`."""

    def test_servers_cannot_be_announced(self, harness: Harness) -> None:
        assert "announce" in harness.cannot
        with pytest.raises(ConfigError, match="servers cannot be announced there; write center"):
            open_registrar(parse_target(harness.target()), ServerSettings())
