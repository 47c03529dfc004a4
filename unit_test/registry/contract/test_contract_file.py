"""The contract on `file://`: a person writes the list."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from libevrpc.core.targets import parse_target
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Announcement, LoadSample
from libevrpc.registry.opening import open_registrar
from libevrpc.settings import ServerSettings
from unit_test.registry.contract.harness import Harness
from unit_test.registry.contract.suite import ListContract


class FileHarness(Harness):
    """A file, written by hand."""

    name = "file"
    cannot: ClassVar = {
        "announce": "servers do not write it",
        "expire": "nobody notices a crash but who calls",
    }

    def __init__(self, folder: Path) -> None:
        self._path = folder / "servers.json"
        self._lock = threading.Lock()
        self._servers: dict[str, Announcement] = {}
        self._down = False
        self._write()

    def target(self, service: str = "") -> str:
        return f"file://{self._path}?every=0.1"

    def down(self) -> None:
        with self._lock:
            self._down = True
            self._path.unlink()

    def up(self) -> None:
        with self._lock:
            self._down = False
            self._write()

    def close(self) -> None:
        self._path.unlink()

    def registrar(self, folder: Path) -> Scribe:
        return Scribe(self)

    patient_registrar = registrar

    def enter(self, announcement: Announcement) -> None:
        with self._lock:
            self._servers[announcement.address] = announcement
            self._write()

    def strike(self, announcement: Announcement) -> None:
        with self._lock:
            self._servers.pop(announcement.address, None)
            self._write()

    def _write(self) -> None:
        if self._down:
            return
        servers = [
            {"address": each.address, "services": each.services} for each in self._servers.values()
        ]
        scratch = self._path.with_suffix(".new")
        scratch.write_text(json.dumps({"servers": servers}))
        scratch.replace(self._path)


class Scribe:
    """Writes one server into the file, and strikes it out. See `Registrar`."""

    def __init__(self, harness: FileHarness) -> None:
        self._harness = harness
        self._announcement: Announcement | None = None

    def start(self, announcement: Announcement, sample: Callable[[], LoadSample]) -> None:
        self.update(announcement)

    def update(self, announcement: Announcement) -> None:
        self._announcement = announcement
        self._harness.enter(announcement)

    def withdraw(self, timeout_s: float) -> bool:
        assert self._announcement is not None
        self._harness.strike(self._announcement)
        return True

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    made = FileHarness(tmp_path_factory.mktemp("file"))
    yield made
    made.close()


class TestFile(ListContract):
    def test_servers_cannot_be_announced(self, harness: Harness, tmp_path: Path) -> None:
        assert "announce" in harness.cannot
        with pytest.raises(ConfigError, match="servers cannot be announced there; write center"):
            open_registrar(parse_target(harness.target()), ServerSettings())
