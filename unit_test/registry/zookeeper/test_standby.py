"""Who may have a node: ourselves, also after a crash; and others, until they go."""

from __future__ import annotations

import pytest
from compare.zookeeper import ZooKeeperCluster

from libevrpc.core.targets import Target
from libevrpc.registry.base import Announcement
from libevrpc.registry.record import encode_record
from libevrpc.registry.session import RegistryError
from libevrpc.registry.zookeeper_link import SharedSession
from unit_test.fix_rpc import wait_until
from unit_test.registry.zookeeper.tree import (
    addresses,
    announcing,
    beat_until,
    new_name,
    plain_client,
    target_of,
    watching,
)

pytestmark = pytest.mark.live


class Method:
    """One method of mprpc's layout: its node, its target, what providers of it say."""

    def __init__(self, zookeeper: ZooKeeperCluster) -> None:
        self.service = new_name("Standby")
        self.path = f"/{self.service}/Login"
        self.target: Target = target_of(zookeeper.hosts(), layout="mprpc")
        self.other_session: Target = target_of(zookeeper.hosts(), 7, layout="mprpc")

    def provider(self, address: str) -> Announcement:
        return Announcement(address, (self.service,), methods=(f"{self.service}/Login",))


def test_a_second_provider_stands_by_and_takes_over(zookeeper: ZooKeeperCluster) -> None:
    method = Method(zookeeper)
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(method.other_session, method.provider("127.0.0.1:8001")) as first,
        announcing(method.target, method.provider("127.0.0.1:8002")) as second,
    ):
        owner = plain.get(method.path)[1].ephemeralOwner
        second.put(method.provider("127.0.0.1:8002"))
        value, stat = plain.get(method.path)
        assert (value, stat.version, stat.ephemeralOwner) == (b"127.0.0.1:8001", 0, owner)
        first.remove()
        beat_until(second, lambda: plain.exists(method.path))
        assert plain.get(method.path)[0] == b"127.0.0.1:8002"


@pytest.mark.parametrize("question", ["read", "create_all"])
def test_a_place_that_could_not_be_taken_at_once_is_taken_later(
    zookeeper: ZooKeeperCluster, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """The watch that told of it does not fire again."""
    method = Method(zookeeper)
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(method.other_session, method.provider("127.0.0.1:8001")) as first,
        announcing(method.target, method.provider("127.0.0.1:8002")) as second,
    ):
        second.beat(0.0)
        first.remove()
        with monkeypatch.context() as patched:
            patched.setattr(SharedSession, question, refusing)
            with pytest.raises(RegistryError, match="not now"):
                beat_until(second, lambda: False)
        assert not plain.exists(method.path)
        beat_until(second, lambda: plain.exists(method.path))
        assert plain.get(method.path)[0] == b"127.0.0.1:8002"


def test_nodes_that_could_not_be_made_at_once_are_made_later(
    zookeeper: ZooKeeperCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Method(zookeeper)
    provider = method.provider("127.0.0.1:8001")
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(method.target, Announcement("127.0.0.1:8001", ())) as session,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(SharedSession, "create_all", refusing)
            with pytest.raises(RegistryError, match="not now"):
                session.put(provider)
        beat_until(session, lambda: plain.exists(method.path))


def refusing(*args: object, **more: object) -> None:
    """Stand in for a question that ZooKeeper does not answer."""
    raise RegistryError("not now")


def test_what_stands_in_anothers_place_is_one_line_of_the_log(zookeeper: ZooKeeperCluster) -> None:
    method = Method(zookeeper)
    with plain_client(zookeeper.hosts()) as plain:
        plain.create(method.path, b"127.0.0.1:1\nCRITICAL", ephemeral=True, makepath=True)
        with announcing(method.target, method.provider("127.0.0.1:8002")) as second:
            told = second.standing_by()
    assert told == f"1 of 1 nodes are of others: {method.path} is 127.0.0.1:1\\nCRITICAL"


def test_two_providers_in_one_process_do_not_take_each_other_for_themselves(
    zookeeper: ZooKeeperCluster,
) -> None:
    """They share a session, so the node's owner does not tell them apart."""
    method = Method(zookeeper)
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(method.target, method.provider("127.0.0.1:8001")) as first,
        announcing(method.target, method.provider("127.0.0.1:8002")) as second,
    ):
        assert plain.get(method.path)[0] == b"127.0.0.1:8001"
        second.remove()
        assert plain.get(method.path)[0] == b"127.0.0.1:8001"
        second.put(method.provider("127.0.0.1:8002"))
        first.remove()
        beat_until(second, lambda: plain.exists(method.path))
        assert plain.get(method.path)[0] == b"127.0.0.1:8002"


def test_who_stood_by_and_left_takes_nothing(zookeeper: ZooKeeperCluster) -> None:
    method = Method(zookeeper)
    with plain_client(zookeeper.hosts()) as plain:
        plain.ensure_path(f"/{method.service}")
        plain.create(method.path, b"127.0.0.1:8001", ephemeral=True)
        with announcing(method.target, method.provider("127.0.0.1:8002")) as second:
            second.remove()
            plain.delete(method.path)
            second.wake()
            second.beat(1.0)
            assert not plain.exists(method.path)


def test_a_quick_restart_replaces_its_own_stale_node(zookeeper: ZooKeeperCluster) -> None:
    """The node of a killed process would vanish when it expires, and leave nobody."""
    method = Method(zookeeper)
    with plain_client(zookeeper.hosts()) as killed:
        killed.ensure_path(f"/{method.service}")
        killed.create(method.path, b"127.0.0.1:8001", ephemeral=True)
        with plain_client(zookeeper.hosts()) as plain:
            seen = []

            def look(event: object) -> None:
                seen.append(plain.get_async(method.path).get(timeout=5.0)[0])

            plain.get(method.path, watch=look)
            with announcing(method.target, method.provider("127.0.0.1:8001")):
                value, stat = plain.get(method.path)
                assert value == b"127.0.0.1:8001"
                assert stat.ephemeralOwner not in (0, killed.client_id[0])
                killed.stop()
                assert plain.get(method.path)[1].ephemeralOwner == stat.ephemeralOwner
                wait_until(lambda: seen)
            assert seen == [b"127.0.0.1:8001"]  # nobody saw it missing


def test_a_restart_replaces_its_node_in_our_layout_too(zookeeper: ZooKeeperCluster) -> None:
    root = f"/{new_name('again')}"
    target = target_of(zookeeper.hosts(), root=root)
    old = Announcement("127.0.0.1:1", ("a.B",), weight=2.0)
    with plain_client(zookeeper.hosts()) as killed:
        killed.ensure_path(f"{root}/a.B")
        killed.create(f"{root}/a.B/127.0.0.1:1", encode_record(old), ephemeral=True)
        with announcing(target, Announcement("127.0.0.1:1", ("a.B",))):
            with watching(target, "a.B") as session:
                assert [each.weight for each in session.fetch()] == [1.0]
            killed.stop()
            with watching(target, "a.B") as session:
                assert addresses(session) == ["127.0.0.1:1"]


def test_who_came_later_under_the_same_address_is_left_alone(zookeeper: ZooKeeperCluster) -> None:
    """Two live processes that advertise one address do not fight for ever: the newer one stays."""
    method = Method(zookeeper)
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(method.target, method.provider("127.0.0.1:8001")) as session,
    ):
        with plain.transaction() as both:
            both.delete(method.path)
            both.create(method.path, b"127.0.0.1:8001", ephemeral=True)
        session.beat(5.0)
        session.put(method.provider("127.0.0.1:8001"))
        assert plain.get(method.path)[1].ephemeralOwner == plain.client_id[0]
        plain.delete(method.path)
        beat_until(session, lambda: plain.exists(method.path))
        assert plain.get(method.path)[1].ephemeralOwner != plain.client_id[0]


def test_a_node_that_was_made_to_stay_is_left_alone(zookeeper: ZooKeeperCluster) -> None:
    method = Method(zookeeper)
    with plain_client(zookeeper.hosts()) as plain:
        plain.ensure_path(f"/{method.service}")
        plain.create(method.path, b"127.0.0.1:8001")
        with announcing(method.target, method.provider("127.0.0.1:8001")) as session:
            session.remove()
            value, stat = plain.get(method.path)
            assert (value, stat.ephemeralOwner) == (b"127.0.0.1:8001", 0)


def test_a_node_that_somebody_deletes_is_made_again(zookeeper: ZooKeeperCluster) -> None:
    method = Method(zookeeper)
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(method.target, method.provider("127.0.0.1:8001")) as session,
    ):
        for _ in range(3):
            plain.delete(method.path)
            beat_until(session, lambda: plain.exists(method.path))
        plain.set(method.path, b"127.0.0.1:8002")
        session.wake()
        session.beat(1.0)
        # another provider's word in our node: his now, as far as anybody can tell
        assert plain.get(method.path)[0] == b"127.0.0.1:8002"


def test_another_address_than_ipv4_is_named(zookeeper: ZooKeeperCluster) -> None:
    method = Method(zookeeper)
    with (
        pytest.raises(RegistryError, match="layout mprpc cannot tell localhost:1"),
        announcing(method.target, method.provider("localhost:1")),
    ):
        raise AssertionError("announced")
