"""Watches that break, fall silent or come too late, on a real etcd behind a link of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from compare.etcd import EtcdCluster

from libevrpc.registry import etcd_watch
from libevrpc.registry.etcd_watch import EtcdWatchSession
from libevrpc.registry.session import RegistryError
from unit_test.registry.contract.harness import new_service
from unit_test.registry.etcd.plain import compact, delete, put
from unit_test.registry.etcd.relay import Relay, plan_for

pytestmark = pytest.mark.live

WAIT_S = 20.0


class Store:
    """One service's keys, written by hand."""

    def __init__(self, address: str, service: str) -> None:
        self.address = address
        self._prefix = f"/libevrpc/{service}/"

    def enter(self, server: str) -> int:
        return put(self.address, self._prefix + server, f'{{"address":"{server}"}}')

    def strike(self, server: str) -> None:
        delete(self.address, self._prefix + server)


@pytest.fixture
def service() -> str:
    return new_service()


@pytest.fixture
def store(etcd: EtcdCluster, service: str) -> Store:
    return Store(etcd.address(1), service)


@pytest.fixture
def relay(etcd: EtcdCluster) -> Iterator[Relay]:
    with Relay(etcd.address(1)) as made:
        yield made


def told(session: EtcdWatchSession) -> list[str]:
    return [each.address for each in session.fetch()]


def wait_for(session: EtcdWatchSession, *servers: str) -> None:
    for _ in range(50):
        if told(session) == list(servers):
            return
        session.wait(WAIT_S)
    pytest.fail(f"{told(session)} instead of {servers}")


def test_a_watch_goes_on_where_it_broke(relay: Relay, store: Store, service: str) -> None:
    store.enter("a:1")
    with closing(EtcdWatchSession(plan_for(relay.address), service)) as session:
        session.open()
        assert told(session) == ["a:1"]
        relay.cut()
        store.enter("b:1")
        store.strike("a:1")
        relay.closed = False
        wait_for(session, "b:1")
        assert relay.watches == 2


def test_what_was_compacted_meanwhile_is_read_anew(
    relay: Relay, store: Store, service: str
) -> None:
    with closing(EtcdWatchSession(plan_for(relay.address), service)) as session:
        store.enter("a:1")
        session.open()
        relay.cut()
        store.strike("a:1")
        compact(store.address, store.enter("b:1"))
        relay.closed = False
        wait_for(session, "b:1")
        store.enter("c:1")  # and the new watch works
        wait_for(session, "b:1", "c:1")


def test_a_watch_that_keeps_changes_to_itself_is_found_out(
    relay: Relay, store: Store, service: str
) -> None:
    with closing(EtcdWatchSession(plan_for(relay.address), service, quiet_s=0.2)) as session:
        store.enter("a:1")
        session.open()
        assert told(session) == ["a:1"]
        relay.hush()
        store.enter("b:1")
        assert session.wait(WAIT_S)
        assert told(session) == ["a:1", "b:1"]
        relay.hush()
        store.strike("a:1")
        assert session.wait(WAIT_S)
        assert told(session) == ["b:1"]
        assert not session.wait(0.5)  # checked again and found true


def test_an_old_copy_is_read_anew_when_it_is_asked_for(
    relay: Relay, store: Store, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_watch, "REREAD_S", 0.0)
    with closing(EtcdWatchSession(plan_for(relay.address), service)) as session:
        session.open()
        store.enter("a:1")
        assert told(session) == ["a:1"]
        assert relay.watches == 1


def test_a_change_told_twice_is_no_change(store: Store, service: str) -> None:
    with closing(EtcdWatchSession(plan_for(store.address), service)) as session:
        session.open()
        store.enter("a:1")
        assert session.wait(WAIT_S)
        assert told(session) == ["a:1"]
        store.enter("a:1")
        store.strike("z:1")
        assert not session.wait(0.2)


def test_a_wait_ends_when_it_is_woken(store: Store, service: str) -> None:
    session = EtcdWatchSession(plan_for(store.address), service)
    session.open()
    session.wake()
    assert not session.wait(60.0)
    assert not session.wait(0.0)
    session.close()
    session.wake()


def test_too_many_keys_are_named(
    store: Store, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_watch, "ENTRIES_MAX", 2)
    with closing(EtcdWatchSession(plan_for(store.address), service)) as session:
        store.enter("a:1")
        store.enter("b:1")
        session.open()
        store.enter("c:1")
        with pytest.raises(RegistryError, match="more than 2 keys"):
            session.wait(WAIT_S)
    late = EtcdWatchSession(plan_for(store.address), service)
    with closing(late), pytest.raises(RegistryError, match="3 keys below"):
        late.open()
