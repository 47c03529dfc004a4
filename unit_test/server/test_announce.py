"""What a server tells its registries, and when."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest

from libevrpc import ConfigError, RpcServer
from libevrpc.core.targets import Target
from libevrpc.registry.base import Announcement, LoadSample
from libevrpc.server import presence
from libevrpc.settings import ServerSettings

pytestmark = pytest.mark.live
WAIT_S = 10.0
Told = queue.SimpleQueue[tuple[str, str, Any]]


class Foo:
    def sum(self, one: int, two: int) -> int:
        return one + two


class Recorder:
    """A registry that notes what it is told. See `Registrar`."""

    def __init__(self, told: Told, target: Target) -> None:
        self._told = told
        self._name = target.endpoints[0].host
        self.samples: list[LoadSample] = []

    def start(self, announcement: Announcement, sample: Callable[[], LoadSample]) -> None:
        self._told.put(("start", self._name, announcement))
        self.samples.append(sample())

    def update(self, announcement: Announcement) -> None:
        self._told.put(("update", self._name, announcement))

    def withdraw(self, timeout_s: float) -> bool:
        self._told.put(("withdraw", self._name, None))
        return True

    def close(self) -> None:
        self._told.put(("close", self._name, None))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    noted: Told = queue.SimpleQueue()

    def open_registrar(target: Target, settings: ServerSettings) -> Recorder:
        return Recorder(noted, target)

    monkeypatch.setattr(presence, "open_registrar", open_registrar)
    return noted


def steps(told: Told) -> list[tuple[str, str, Any]]:
    found = []
    while not told.empty():
        found.append(told.get())
    return found


def started(**given: Any) -> RpcServer:
    server = RpcServer("127.0.0.1:0", threads=1, advertise="here.example:7", drain_s=0.0, **given)
    server.add_object(Foo())
    server.start()
    return server


def test_what_a_server_tells_from_start_to_stop(told: Told) -> None:
    server = started(registry="zk://z:1", weight=2.0, tags=("red",), limit=5)
    first = Announcement("here.example:7", ("Foo",), 2.0, ("red",), 5, ("Foo/sum",))
    assert steps(told) == [("start", "z", first)]
    server.add_object(Foo(), "Bar")
    server.remove_service("Foo")
    server.announce(weight=3, tags="blue", limit=0)
    server.announce(tags=["green", "dark"])
    found = [what for _, _, what in steps(told)]
    assert [each.services for each in found] == [("Bar", "Foo"), ("Bar",), ("Bar",), ("Bar",)]
    assert [(each.weight, each.tags, each.limit) for each in found] == [
        (2.0, ("red",), 5),
        (2.0, ("red",), 5),
        (3.0, ("blue",), 0),
        (3.0, ("green", "dark"), 0),
    ]
    server.stop()
    assert [step for step, _, _ in steps(told)] == ["withdraw", "close"]


@pytest.mark.parametrize(
    "registry", ["zk://z:1 etcd://e:1", ["zk://z:1", "etcd://e:1"], "  zk://z:1   etcd://e:1 "]
)
def test_a_server_in_two_registries_tells_both(told: Told, registry: str | list[str]) -> None:
    server = started(registry=registry)
    assert {(step, where) for step, where, _ in steps(told)} == {("start", "z"), ("start", "e")}
    server.announce(weight=0.5)
    assert [(where, what.weight) for _, where, what in steps(told)] == [("z", 0.5), ("e", 0.5)]
    server.stop()
    assert {(step, where) for step, where, _ in steps(told)} == {
        ("withdraw", "z"),
        ("close", "z"),
        ("withdraw", "e"),
        ("close", "e"),
    }


def test_what_is_announced_before_the_start_holds_from_the_start(told: Told) -> None:
    server = RpcServer("127.0.0.1:0", threads=1, registry="zk://z:1", advertise="here.example:7")
    server.announce(weight=4.0)
    assert not steps(told)
    server.start()
    assert [what.weight for _, _, what in steps(told)] == [4.0]
    server.stop(0.0)
    server.announce(weight=5.0)  # too late, and no harm


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"weight": 0.0}, "argument weight = 0.0: must be at least 0.01"),
        ({"weight": "2"}, "argument weight = '2': must be a number"),
        ({"tags": 7}, "argument tags = 7: must be a string or a list of strings"),
        ({"limit": -1}, "argument limit = -1: must be at least 0"),
        ({"limit": 1.5}, "argument limit = 1.5: must be a whole number"),
    ],
)
def test_what_cannot_be_announced_is_named(
    told: Told, given: dict[str, Any], complaint: str
) -> None:
    server = started(registry="zk://z:1")
    steps(told)
    with pytest.raises(ConfigError, match=complaint):
        server.announce(**given)
    assert not steps(told)
    server.stop()


def test_one_wrong_registry_of_two_is_named() -> None:
    server = RpcServer("127.0.0.1:0", threads=1, registry="center://127.0.0.1:1 file:///x")
    with pytest.raises(ConfigError, match="registry = file:///x: servers cannot be announced"):
        server.start()


def test_a_loopback_address_is_refused_if_one_registry_is_far_away() -> None:
    server = RpcServer("127.0.0.1:0", threads=1, registry="center://127.0.0.1:1 etcd://10.1.2.3:1")
    with pytest.raises(ConfigError, match=r"10\.1\.2\.3:1 is on another machine"):
        server.start()
