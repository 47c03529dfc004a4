"""What stands in ZooKeeper, to the byte, as any other client reads and writes it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from compare.zookeeper import ZooKeeperCluster
from kazoo.security import OPEN_ACL_UNSAFE

from libevrpc.registry.base import Announcement
from libevrpc.registry.zookeeper_link import SharedSession
from unit_test.fix_rpc import wait_until
from unit_test.registry.zookeeper.tree import (
    addresses,
    announcing,
    changes,
    new_name,
    plain_client,
    target_of,
    watching,
)

pytestmark = pytest.mark.live


def user_service(name: str, address: str, *methods: str) -> Announcement:
    service = f"fixbug.{name}"
    return Announcement(
        address, (service,), methods=tuple(f"{service}/{method}" for method in methods)
    )


def test_the_nodes_of_our_layout(zookeeper: ZooKeeperCluster) -> None:
    root = f"/{new_name('own')}"
    announcement = Announcement("127.0.0.1:9998", ("a.B", "a.C"), 2.0, ("red",), 7)
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(target_of(zookeeper.hosts(), root=root), announcement),
    ):
        assert sorted(plain.get_children(root)) == ["a.B", "a.C"]
        for service in ("a.B", "a.C"):
            value, stat = plain.get(f"{root}/{service}")
            assert (value, stat.ephemeralOwner) == (b"", 0)
            assert plain.get_children(f"{root}/{service}") == ["127.0.0.1:9998"]
            value, stat = plain.get(f"{root}/{service}/127.0.0.1:9998")
            assert value == (
                b'{"v":1,"address":"127.0.0.1:9998","services":["a.B","a.C"],"weight":2.0,'
                b'"tags":["red"],"limit":7}'
            )
            assert stat.ephemeralOwner != 0
            assert plain.get_acls(f"{root}/{service}/127.0.0.1:9998")[0] == OPEN_ACL_UNSAFE


def test_the_nodes_of_mprpcs_layout(zookeeper: ZooKeeperCluster) -> None:
    """What an unmodified mprpc consumer reads: `/Service/Method`, `ip:port`, nothing else."""
    name = new_name("UserServiceRpc")
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(
            target_of(zookeeper.hosts(), layout="mprpc"),
            user_service(name, "127.0.0.1:8000", "Login", "Register"),
        ),
    ):
        value, stat = plain.get(f"/{name}")
        assert (value, stat.ephemeralOwner, stat.version) == (b"", 0, 0)
        assert sorted(plain.get_children(f"/{name}")) == ["Login", "Register"]
        for method in ("Login", "Register"):
            value, stat = plain.get(f"/{name}/{method}")
            assert value == b"127.0.0.1:8000"
            assert stat.ephemeralOwner != 0
            assert plain.get_acls(f"/{name}/{method}")[0] == OPEN_ACL_UNSAFE
            assert plain.get_acls(f"/{name}")[0] == OPEN_ACL_UNSAFE


def test_a_provider_of_mprpcs_own_is_found(zookeeper: ZooKeeperCluster) -> None:
    """Nodes as mprpc's provider makes them, by hand."""
    name = new_name("FriendServiceRpc")
    target = target_of(zookeeper.hosts(), layout="mprpc")
    with plain_client(zookeeper.hosts()) as plain:
        plain.create(f"/{name}", b"")
        plain.create(f"/{name}/GetFriendsList", b"127.0.0.1:8000", ephemeral=True)
        plain.create(f"/{name}/AddFriend", b"127.0.0.1:8001", ephemeral=True)
        with watching(target, f"fixbug.{name}") as service:
            assert addresses(service) == ["127.0.0.1:8000", "127.0.0.1:8001"]
        with watching(target, f"fixbug.{name}/AddFriend") as method:
            assert addresses(method) == ["127.0.0.1:8001"]
            plain.delete(f"/{name}/AddFriend")
            assert changes(method) == []
            plain.create(f"/{name}/AddFriend", b"127.0.0.1:8002", ephemeral=True)
            assert changes(method) == ["127.0.0.1:8002"]


def test_services_weight_tags_and_limit_change_while_running(zookeeper: ZooKeeperCluster) -> None:
    target = target_of(zookeeper.hosts(), root=f"/{new_name('change')}")
    first = Announcement("127.0.0.1:1", ("a.B",))
    with (
        announcing(target, first) as server,
        watching(target, "a.B") as one,
        watching(target, "a.C") as other,
    ):
        assert addresses(one) == ["127.0.0.1:1"]
        assert addresses(other) == []
        server.put(Announcement("127.0.0.1:1", ("a.B", "a.C"), 3.0, ("red",), 4))
        for session in (one, other):
            assert changes(session) == ["127.0.0.1:1"]
            (found,) = session.fetch()
            assert (found.weight, found.tags, found.limit) == (3.0, ("red",), 4)
        server.put(Announcement("127.0.0.1:1", ("a.C",), 3.0, ("red",), 4))
        assert changes(one) == []
        assert addresses(other) == ["127.0.0.1:1"]


def test_garbage_is_left_out_and_named_once(
    zookeeper: ZooKeeperCluster, caplog: pytest.LogCaptureFixture
) -> None:
    root = f"/{new_name('garbage')}"
    target = target_of(zookeeper.hosts(), root=root)
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(target, Announcement("127.0.0.1:1", ("a.B",))),
        watching(target, "a.B") as session,
    ):
        for number, value in enumerate((b"", b"\xff\xfe", b"{}", b"[1]", b'{"v":9}')):
            plain.create(f"{root}/a.B/foreign{number}", value)
        assert addresses(session) == ["127.0.0.1:1"]
        assert addresses(session) == ["127.0.0.1:1"]
        warned = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert len(warned) == 5
        assert f"{root}/a.B/foreign0 is left out: record" in warned[0].getMessage()
        assert len(plain.get_children(f"{root}/a.B")) == 6


def test_a_name_with_slashes_is_one_node(zookeeper: ZooKeeperCluster) -> None:
    root = f"/{new_name('names')}"
    target = target_of(zookeeper.hosts(), root=root)
    services = ("a/b", "..", "zookeeper", "\u00e4")
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(target, Announcement("unix:///run/x.sock", services)),
    ):
        assert sorted(plain.get_children(root)) == ["%2E.", "%7Aookeeper", "%C3%A4", "a%2Fb"]
        assert plain.get_children(f"{root}/a%2Fb") == ["unix:%2F%2F%2Frun%2Fx.sock"]
        for service in ("..", "zookeeper", "\u00e4"):
            with watching(target, service) as session:
                assert addresses(session) == ["unix:///run/x.sock"]


def test_two_hundred_servers_are_read_once_each(
    zookeeper: ZooKeeperCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of one costs one question and one listing, not two hundred."""
    root = f"/{new_name('many')}"
    target = target_of(zookeeper.hosts(), root=root)
    with plain_client(zookeeper.hosts()) as plain, watching(target, "a.B") as session:
        assert addresses(session) == []
        record = '{"v":1,"address":"127.0.0.1:%d"}'
        plain.ensure_path(f"{root}/a.B")
        made = [
            plain.create_async(f"{root}/a.B/{port}", (record % port).encode(), ephemeral=True)
            for port in range(1, 201)
        ]
        for each in made:
            each.get(timeout=10.0)
        wait_until(lambda: len(session.fetch()) == 200)
        asked: list[str] = []
        read_all = SharedSession.read_all

        def counting(shared: SharedSession, paths: list[str]) -> Iterator[Any]:
            asked.extend(paths)
            return read_all(shared, paths)

        monkeypatch.setattr(SharedSession, "read_all", counting)
        plain.set(f"{root}/a.B/7", (record % 1007).encode())
        plain.delete(f"{root}/a.B/8")
        wait_until(lambda: len(session.fetch()) == 199)
        wait_until(lambda: "127.0.0.1:1007" in addresses(session))
        assert set(asked) <= {f"{root}/a.B/7", f"{root}/a.B/8"}


def test_many_methods_are_written_and_taken_back_together(zookeeper: ZooKeeperCluster) -> None:
    name = new_name("Wide")
    methods = [f"m{number}" for number in range(300)]
    target = target_of(zookeeper.hosts(), layout="mprpc")
    with (
        plain_client(zookeeper.hosts()) as plain,
        announcing(target, user_service(name, "127.0.0.1:8000", *methods)) as server,
    ):
        assert sorted(plain.get_children(f"/{name}")) == sorted(methods)
        server.put(user_service(name, "127.0.0.1:8000", "m7"))
        assert plain.get_children(f"/{name}") == ["m7"]
        server.remove()
        assert plain.get_children(f"/{name}") == []
