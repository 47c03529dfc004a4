"""What a server writes into a real etcd, and who may take it away."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from compare.etcd import EtcdCluster

from libevrpc.core.endpoints import parse_endpoint
from libevrpc.registry import etcd as etcd_module
from libevrpc.registry.base import Announcement
from libevrpc.registry.etcd import EtcdAnnounceSession
from libevrpc.registry.etcd_layouts import OwnLayout, TinyRpcLayout
from libevrpc.registry.session import RegistryError, SessionLost
from unit_test.fix_rpc import wait_until
from unit_test.registry.contract.harness import new_service, watched
from unit_test.registry.contract.test_contract_etcd import EtcdHarness
from unit_test.registry.etcd.plain import ask, delete, grant, put, read, revoke, spelled
from unit_test.registry.etcd.relay import Relay, plan_for

pytestmark = pytest.mark.live

ADDRESS = "127.0.0.1:4711"


@pytest.fixture
def root() -> str:
    return "/" + new_service("Root")


def session_of(etcd: EtcdCluster, root: str, expiry_s: int = 30) -> EtcdAnnounceSession:
    plan = plan_for(etcd.address(1), layout=OwnLayout(root), expiry_s=expiry_s)
    session = EtcdAnnounceSession(plan)
    session.open()
    return session


def lease_of(etcd: EtcdCluster, key: str) -> int:
    return read(etcd.address(1), key)[key][1]


def beat_until_lost(session: EtcdAnnounceSession) -> None:
    for _ in range(100):
        session.beat(0.1)


def test_keys_and_values_are_as_the_documents_say(etcd: EtcdCluster, root: str) -> None:
    session = session_of(etcd, root)
    session.put(Announcement(ADDRESS, ("a.Foo", "b.Bar"), 2.5, ("red",)))
    record = (
        '{"v":1,"address":"127.0.0.1:4711","services":["a.Foo","b.Bar"],"weight":2.5,'
        '"tags":["red"],"limit":0}'
    )
    stored = read(etcd.address(1), root)
    assert {key: value for key, (value, _) in stored.items()} == {
        f"{root}/a.Foo/{ADDRESS}": record,
        f"{root}/b.Bar/{ADDRESS}": record,
    }
    assert all(lease for _, lease in stored.values())
    session.put(Announcement(ADDRESS, ("b.Bar",)))
    assert list(read(etcd.address(1), root)) == [f"{root}/b.Bar/{ADDRESS}"]
    session.remove()
    session.remove()
    assert not read(etcd.address(1), root)
    with pytest.raises(SessionLost, match="given back"):
        session.put(Announcement(ADDRESS, ("a.Foo",)))
    session.close()


def test_tinyrpc_finds_us_and_we_find_tinyrpc(etcd: EtcdCluster, tmp_path: Path) -> None:
    address, prefix = etcd.address(1), "/_tinyrpc_/registr/"
    session = EtcdAnnounceSession(plan_for(address, layout=TinyRpcLayout(), expiry_s=30))
    session.open()
    session.put(Announcement(ADDRESS, ("a.Foo", "b.Bar")))
    try:
        ((key, (value, lease)),) = read(address, prefix).items()
        assert (key, value) == (f"{prefix}tcp@{ADDRESS}", f"tcp@{ADDRESS}")
        assert lease
        harness = EtcdHarness(etcd)
        harness.target = lambda service="": f"etcd://{address}?layout=tinyrpc"  # type: ignore[method-assign]
        with watched(harness, "any.Service", tmp_path) as view:
            view.until_addresses(ADDRESS)
            foreign = grant(address, 30)
            for each in ("http@127.0.0.1:4712", "unix@/run/e.sock"):
                put(address, prefix + each, each, foreign)
            view.until_addresses(ADDRESS, "127.0.0.1:4712", "unix:///run/e.sock")
            assert view.one("127.0.0.1:4712") == parse_endpoint("http@127.0.0.1:4712")
            revoke(address, foreign)
            view.until_addresses(ADDRESS)
    finally:
        session.remove()
        session.close()


def test_a_restarted_server_takes_its_keys_over(etcd: EtcdCluster, root: str) -> None:
    key = f"{root}/a.Foo/{ADDRESS}"
    killed = session_of(etcd, root)
    killed.put(Announcement(ADDRESS, ("a.Foo", "b.Gone")))
    old = lease_of(etcd, key)
    put(etcd.address(1), f"{root}/c.ByHand/{ADDRESS}", "stays")
    put(etcd.address(1), f"{root}/b.Gone/127.0.0.1:9", "another server", old)
    put(etcd.address(1), f"{root}/d.Odd/{ADDRESS}", "no record", old)

    restarted = session_of(etcd, root)
    restarted.put(Announcement(ADDRESS, ("a.Foo", "d.Odd")))
    restarted.put(Announcement(ADDRESS, ("a.Foo",)))
    assert lease_of(etcd, key) not in (0, old)
    assert f"{root}/b.Gone/{ADDRESS}" not in read(etcd.address(1), root)
    revoke(etcd.address(1), old)
    assert set(read(etcd.address(1), root)) == {key, f"{root}/c.ByHand/{ADDRESS}"}

    killed.remove()  # it was only frozen: what it gives back is not its own any more
    assert key in read(etcd.address(1), root)
    for each in (killed, restarted):
        each.remove()
        each.close()
    assert key not in read(etcd.address(1), root)


def test_a_service_given_up_is_deleted_only_while_it_is_ours(etcd: EtcdCluster, root: str) -> None:
    session = session_of(etcd, root)
    session.put(Announcement(ADDRESS, ("a.Foo", "b.Bar")))
    put(etcd.address(1), f"{root}/b.Bar/{ADDRESS}", "another process's")
    session.put(Announcement(ADDRESS, ("a.Foo",)))
    assert read(etcd.address(1), root)[f"{root}/b.Bar/{ADDRESS}"][0] == "another process's"
    session.remove()
    session.close()


def test_keys_deleted_by_hand_come_back(
    etcd: EtcdCluster, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_module, "BEAT_MAX_S", 0.1)  # a lease that ends soon might end now
    monkeypatch.setattr(etcd_module, "LOOK_MAX_S", 0.2)
    session = session_of(etcd, root)
    session.put(Announcement(ADDRESS, ("a.Foo", "b.Bar")))
    delete(etcd.address(1), f"{root}/a.Foo/{ADDRESS}")
    put(etcd.address(1), f"{root}/b.Bar/{ADDRESS}", "another's")

    def healed() -> bool:
        session.beat(0.2)
        return f"{root}/a.Foo/{ADDRESS}" in read(etcd.address(1), root)

    wait_until(healed)
    assert read(etcd.address(1), root)[f"{root}/b.Bar/{ADDRESS}"] == ("another's", 0)
    session.remove()
    session.close()


def test_what_a_frozen_member_carries_out_late_brings_nothing_back(
    etcd: EtcdCluster, root: str
) -> None:
    """A transaction that was given up and asked elsewhere, and carried out when all has changed."""
    with Relay(etcd.address(1)) as frozen, Relay(etcd.address(1)) as well:
        plan = plan_for(frozen.address, well.address, layout=OwnLayout(root), expiry_s=5)
        session = EtcdAnnounceSession(plan)
        session.open()
        for each in (frozen, well):  # whichever is asked first
            each.holds = True
        with pytest.raises(RegistryError, match="no answer in time"):
            session.put(Announcement(ADDRESS, ("a.Foo", "b.Gone")))
        frozen.holds = well.holds = False
        session.put(Announcement(ADDRESS, ("a.Foo", "b.Gone")))
        first = lease_of(etcd, f"{root}/a.Foo/{ADDRESS}")
        session.put(Announcement(ADDRESS, ("a.Foo",), weight=2.0))
        session.put(Announcement(ADDRESS, ("a.Foo", "c.Other"), weight=2.0))
        put(etcd.address(1), f"{root}/c.Other/{ADDRESS}", "another's")

        def changed() -> bool:
            session.beat(0.2)
            return lease_of(etcd, f"{root}/a.Foo/{ADDRESS}") != first

        wait_until(changed)
        answers = [*frozen.let_go(), *well.let_go()]
        assert len(answers) == 2
        assert all(b"requested lease not found" in each for each in answers)
        stored = read(etcd.address(1), root)
        assert set(stored) == {f"{root}/a.Foo/{ADDRESS}", f"{root}/c.Other/{ADDRESS}"}
        assert '"weight":2.0' in stored[f"{root}/a.Foo/{ADDRESS}"][0]
        assert stored[f"{root}/c.Other/{ADDRESS}"] == ("another's", 0)
        session.remove()
        assert set(read(etcd.address(1), root)) == {f"{root}/c.Other/{ADDRESS}"}
        session.close()


def test_who_stops_before_anything_is_said_leaves_no_lease(etcd: EtcdCluster, root: str) -> None:
    def leases() -> set[str]:
        """Return those there are; earlier tests' may end at any moment."""
        return {each["ID"] for each in ask(etcd.address(1), "/v3/lease/leases", {})["leases"]}

    others = session_of(etcd, root)  # so that there always is one
    before = leases()
    stays = session_of(etcd, root)
    (its_own,) = leases() - before
    session_of(etcd, root).close()
    assert leases() <= {*before, its_own}
    stays.put(Announcement(ADDRESS, ("a.Foo",)))
    stays.close()
    assert its_own in leases()  # what was said is left to expire
    others.close()


def test_a_lease_revoked_by_hand_is_a_lost_session(
    etcd: EtcdCluster, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_module, "BEAT_MAX_S", 0.1)  # a lease that ends soon might end now
    session = session_of(etcd, root)
    session.put(Announcement(ADDRESS, ("a.Foo",)))
    revoke(etcd.address(1), lease_of(etcd, f"{root}/a.Foo/{ADDRESS}"))
    with pytest.raises(SessionLost, match="somebody revoked it"):
        beat_until_lost(session)
    with pytest.raises(SessionLost, match="requested lease not found"):
        session.put(Announcement(ADDRESS, ("b.Bar",)))
    session.remove()
    session.close()


def test_a_beat_ends_when_it_is_woken(etcd: EtcdCluster, root: str) -> None:
    session = session_of(etcd, root)
    session.wake()
    session.beat(60.0)
    session.remove()
    session.close()


def test_many_keys_are_written_in_several_transactions(
    etcd: EtcdCluster, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tuple(f"s.S{number}" for number in range(250))
    session = session_of(etcd, root)
    monkeypatch.setattr(etcd_module, "TRANSACTION_BYTES_MAX", 300_000)  # forty records
    session.put(Announcement(ADDRESS, services))
    assert len(read(etcd.address(1), root)) == len(services)
    session.remove()
    session.close()


def test_what_is_too_large_for_etcd_is_named(
    etcd: EtcdCluster, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tuple(f"s.{'x' * 1000}{number}" for number in range(41))
    session = session_of(etcd, root)
    monkeypatch.setattr(etcd_module, "TRANSACTION_BYTES_MAX", 64 << 20)
    with pytest.raises(RegistryError, match=f"etcd {etcd.address(1)} refuses: .*too large"):
        session.put(Announcement(ADDRESS, services))
    session.remove()
    session.close()


def test_what_cannot_be_read_is_left_out_with_one_warning(
    etcd: EtcdCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, harness = new_service(), EtcdHarness(etcd)
    address, prefix = etcd.address(1), f"/libevrpc/{service}/"
    put(address, f"{prefix}127.0.0.1:1", "no JSON")
    put(address, f"{prefix}127.0.0.1:2", '{"v":1,"address":"127.0.0.1:2","services":[]}')
    with caplog.at_level(logging.WARNING), watched(harness, service, tmp_path) as view:
        view.until_addresses("127.0.0.1:2")
        put(address, f"{prefix}127.0.0.1:3", '{"address":"127.0.0.1:3","weight":"heavy"}')
        put(address, f"{prefix}127.0.0.1:4", '{"address":"127.0.0.1:4"}')
        view.until_addresses("127.0.0.1:2", "127.0.0.1:4")
        harness.down()
        harness.up()
        put(address, f"{prefix}127.0.0.1:5", '{"address":"127.0.0.1:5"}')
        view.until_addresses("127.0.0.1:2", "127.0.0.1:4", "127.0.0.1:5")
    warned = [each for each in caplog.messages if "is left out" in each]
    assert len(warned) == 2
    assert "127.0.0.1:1" in warned[0]
    assert "no JSON" in warned[0]
    assert '"weight" is not a number' in warned[1]


def test_keys_are_spelled_in_base64() -> None:
    assert spelled("/libevrpc/a.Foo/h:1") == "L2xpYmV2cnBjL2EuRm9vL2g6MQ=="
