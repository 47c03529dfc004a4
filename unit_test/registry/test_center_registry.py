"""The `center://` adapter against a center that answers what a test says."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libevrpc import RpcServer
from libevrpc.core.endpoints import EndpointSet
from libevrpc.core.targets import parse_target
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Announcement, LoadSample
from libevrpc.registry.center import CenterRegistrar, CenterResolver
from libevrpc.registry.opening import open_registrar, open_resolver
from libevrpc.settings import ClientSettings, ServerSettings
from unit_test.fix_net import free_port
from unit_test.registry.fake_center import FakeCenter, Told, map_of

pytestmark = pytest.mark.live
WAIT_S = 10.0
LOAD = LoadSample(0.25, 0.2, 1 << 20, 3, 10.0, 2)


@pytest.fixture
def told() -> Told:
    return queue.SimpleQueue()


@pytest.fixture
def center(told: Told) -> Iterator[tuple[FakeCenter, str]]:
    """Give a fake center and its address."""
    fake = FakeCenter(told)
    server = RpcServer("127.0.0.1:0", threads=1)
    server.add_service(fake)
    with server:
        yield fake, server.address
        server.stop(0.0)


def next_told(told: Told, kind: str) -> Any:
    """Return the next thing told of that kind, whatever comes before it."""
    while True:
        found, request = told.get(timeout=WAIT_S)
        if found == kind:
            return request


def registrar_at(tmp_path: Path, *addresses: str, **given: Any) -> CenterRegistrar:
    settings = ServerSettings(state_dir=str(tmp_path), report_s=0.1, **given)
    target = parse_target("center://" + ",".join(addresses))
    registrar = open_registrar(target, settings)
    assert isinstance(registrar, CenterRegistrar)
    return registrar


def resolver_at(tmp_path: Path, *addresses: str, **given: Any) -> CenterResolver:
    settings = ClientSettings(
        state_dir=str(tmp_path), **{"pull_min_s": 0.05, "pull_max_s": 0.1, **given}
    )
    target = parse_target("center://" + ",".join(addresses))
    resolver = open_resolver(target, "x.Y", settings)
    assert isinstance(resolver, CenterResolver)
    return resolver


HERE = Announcement("127.0.0.1:7", ("x.Y",), 2.0, ("red",))

# The server's side ------------------------------------------------------------------------------


def test_a_server_asks_where_then_reports_again_and_again(
    tmp_path: Path, center: tuple[FakeCenter, str], told: Told
) -> None:
    fake, address = center
    fake.places_named = [address]
    registrar = registrar_at(tmp_path, address)
    registrar.start(HERE, lambda: LOAD)
    try:
        assert next_told(told, "places").address == HERE.address
        first, second = next_told(told, "report"), next_told(told, "report")
        assert list(first.services) == ["x.Y"]
        assert (first.load, first.weight, list(first.tags)) == (0.25, 2.0, ["red"])
        assert first.session == second.session != ""
        assert registrar.withdraw(WAIT_S)
        assert next_told(told, "goodbye").session == first.session
    finally:
        registrar.close()
    assert fake.gone.wait(WAIT_S)


def test_news_of_a_server_are_told_at_once(
    tmp_path: Path, center: tuple[FakeCenter, str], told: Told
) -> None:
    _fake, address = center
    settings = ServerSettings(state_dir=str(tmp_path), report_s=3600.0)
    registrar = CenterRegistrar(parse_target(f"center://{address}"), settings)
    registrar.start(HERE, lambda: LOAD)
    try:
        next_told(told, "report")
        registrar.update(Announcement("127.0.0.1:7", ("x.Y", "x.Z")))
        assert list(next_told(told, "report").services) == ["x.Y", "x.Z"]
    finally:
        registrar.close()


def test_a_restarted_server_reports_to_the_center_it_remembers(
    tmp_path: Path, center: tuple[FakeCenter, str], told: Told
) -> None:
    fake, address = center
    fake.places_named = [address]
    dead = f"127.0.0.1:{free_port()}"
    for _ in range(2):
        registrar = registrar_at(tmp_path, dead, address)
        registrar.start(HERE, lambda: LOAD)
        assert next_told(told, "report").address == HERE.address
        registrar.close()
    kinds = []
    registrar = registrar_at(tmp_path, dead, address)
    registrar.start(HERE, lambda: LOAD)
    kinds.append(told.get(timeout=WAIT_S)[0])
    registrar.close()
    assert kinds == ["report"]


def test_a_server_waits_for_a_cluster_without_leader(
    tmp_path: Path, center: tuple[FakeCenter, str], told: Told
) -> None:
    fake, address = center
    fake.ready = False
    registrar = registrar_at(tmp_path, address)
    registrar.start(HERE, lambda: LOAD)
    try:
        next_told(told, "places")
        next_told(told, "places")
        fake.ready = True
        next_told(told, "report")
    finally:
        registrar.close()


def test_a_goodbye_to_dead_centers_ends_in_time(tmp_path: Path) -> None:
    registrar = registrar_at(tmp_path, f"127.0.0.1:{free_port()}")
    assert not registrar.withdraw(WAIT_S), "it was never announced"
    registrar.start(HERE, lambda: LOAD)
    assert not registrar.withdraw(WAIT_S)
    registrar.close()
    registrar.close()
    registrar.update(HERE)


def test_a_failing_load_meter_costs_reports_only(
    tmp_path: Path,
    center: tuple[FakeCenter, str],
    told: Told,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _fake, address = center
    failures = iter([True])

    def sample() -> LoadSample:
        if next(failures, False):
            raise OSError("no /proc")
        return LOAD

    registrar = registrar_at(tmp_path, address)
    registrar.start(HERE, sample)
    try:
        assert next_told(told, "report").load == 0.25
    finally:
        registrar.close()
    assert "no /proc" in caplog.text


def test_the_log_says_whether_the_server_can_be_found(
    tmp_path: Path,
    center: tuple[FakeCenter, str],
    told: Told,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake, address = center
    fake.ready = False
    dead = f"127.0.0.1:{free_port()}"
    registrar = registrar_at(tmp_path, dead, address)
    with caplog.at_level(logging.INFO, logger="libevrpc.registry"):
        registrar.start(HERE, lambda: LOAD)
        try:
            for _ in range(4):  # whole rounds
                next_told(told, "places")
            fake.ready, fake.in_map = True, False
            for _ in range(3):
                next_told(told, "report")
            assert "registered address=127.0.0.1:7 center=" not in caplog.text
            fake.in_map = True
            for _ in range(3):
                next_told(told, "report")
        finally:
            registrar.close()
    warning, info = (each for each in caplog.records if "registered" in each.message)
    assert warning.levelno == logging.WARNING
    assert f"not registered address=127.0.0.1:7 centers={dead},{address}: " in warning.message
    assert "Connection refused" in warning.message
    assert f"{address}: it has no leader" in warning.message
    assert info.levelno == logging.INFO
    assert info.message == f"registered address=127.0.0.1:7 center={address} epoch=6"


# The client's side ------------------------------------------------------------------------------


def test_a_client_is_told_of_each_newer_map(
    tmp_path: Path, center: tuple[FakeCenter, str], told: Told
) -> None:
    fake, address = center
    fake.map = map_of(1, 1, "a:1")
    sets: queue.SimpleQueue[EndpointSet] = queue.SimpleQueue()
    resolver = resolver_at(tmp_path, address)
    resolver.start(sets.put)
    try:
        assert [each.address for each in sets.get(timeout=WAIT_S).endpoints] == ["a:1"]
        pull = next_told(told, "pull")
        assert (pull.service, pull.cluster_id, pull.wait_ms) == ("x.Y", "", 0)
        fake.map = map_of(1, 2, "a:1", "b:1")
        found = sets.get(timeout=WAIT_S)
        assert [each.address for each in found.endpoints] == ["a:1", "b:1"]
        assert found.version == (1, 2)
        assert len(found.vnodes) == 8
    finally:
        resolver.close()


def test_a_long_poll_brings_a_map_at_once(
    tmp_path: Path, center: tuple[FakeCenter, str], told: Told
) -> None:
    fake, address = center
    fake.map = map_of(1, 1, "a:1")
    sets: queue.SimpleQueue[EndpointSet] = queue.SimpleQueue()
    resolver = resolver_at(tmp_path, address, pull_min_s=3000.0, pull_max_s=3600.0)
    resolver.start(sets.put)
    try:
        sets.get(timeout=WAIT_S)
        held = fake.polls.get(timeout=WAIT_S)
        fake.map = map_of(1, 2, "b:1")
        held.reply(fake.answer())
        assert [each.address for each in sets.get(timeout=WAIT_S).endpoints] == ["b:1"]
        fake.polls.get(timeout=WAIT_S)
    finally:
        resolver.close()


def test_a_restarted_client_is_told_the_remembered_map_at_once(
    tmp_path: Path, center: tuple[FakeCenter, str]
) -> None:
    fake, address = center
    fake.map = map_of(1, 1, "a:1")
    first: queue.SimpleQueue[EndpointSet] = queue.SimpleQueue()
    resolver = resolver_at(tmp_path, address)
    resolver.start(first.put)
    first.get(timeout=WAIT_S)
    resolver.close()
    sets: queue.SimpleQueue[EndpointSet] = queue.SimpleQueue()
    again = resolver_at(tmp_path, address)
    fake.map = None
    fake.ready = False
    again.start(sets.put)
    remembered = sets.get_nowait()
    assert [each.address for each in remembered.endpoints] == ["a:1"]
    assert remembered.remembered
    fake.ready = True  # it has nothing newer
    confirmed = sets.get(timeout=WAIT_S)
    assert confirmed.endpoints == remembered.endpoints
    assert not confirmed.remembered
    again.close()
    again.close()
    assert sets.empty()


def test_unreadable_answers_and_dead_centers_are_passed_over(
    tmp_path: Path, center: tuple[FakeCenter, str], told: Told
) -> None:
    fake, address = center
    fake.raw_map = b"junk"
    sets: queue.SimpleQueue[EndpointSet] = queue.SimpleQueue()
    resolver = resolver_at(tmp_path, f"127.0.0.1:{free_port()}", address)
    resolver.start(sets.put)
    try:
        next_told(told, "pull")
        next_told(told, "pull")
        fake.map = map_of(1, 1, "a:1")
        assert sets.get(timeout=WAIT_S).version == (1, 1)
    finally:
        resolver.close()


def test_a_resolver_may_be_closed_by_whom_it_tells(
    tmp_path: Path, center: tuple[FakeCenter, str]
) -> None:
    fake, address = center
    fake.map = map_of(1, 1, "a:1")
    closed = threading.Event()
    resolver = resolver_at(tmp_path, address)

    def close(endpoints: EndpointSet) -> None:
        resolver.close()
        closed.set()

    resolver.start(close)
    assert closed.wait(WAIT_S)


def test_other_targets_have_other_adapters() -> None:
    with pytest.raises(ConfigError, match="center://host:port"):
        open_registrar(parse_target("list://a:1"), ServerSettings())
    assert not isinstance(
        open_resolver(parse_target("list://a:1"), "", ClientSettings()), CenterResolver
    )


class LateResolver(CenterResolver):
    """One whose thread comes to run only after the end, as on a busy machine."""

    def _first(self) -> None:
        pause = threading.Event()
        while self.post(lambda: None):
            pause.wait(0.002)
        super()._first()


def test_an_end_that_overtakes_the_first_question_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that is closed as soon as it was made."""
    target = parse_target(f"center://127.0.0.1:{free_port()}")
    resolver = LateResolver(target, "x.Y", ClientSettings(state_dir=str(tmp_path)))
    resolver.start(lambda found: None)
    resolver.close()
    assert "job failed" not in caplog.text
