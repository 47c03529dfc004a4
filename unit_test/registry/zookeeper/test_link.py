"""The edge to ZooKeeper: what its refusals mean, and requests that come to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from compare.zookeeper import ZooKeeperCluster
from kazoo import exceptions as refusals
from kazoo.client import KazooClient
from kazoo.security import CREATOR_ALL_ACL, READ_ACL_UNSAFE

from libevrpc.registry import zookeeper_link
from libevrpc.registry.base import Announcement
from libevrpc.registry.session import RegistryError
from libevrpc.registry.zookeeper_layouts import plan_of
from libevrpc.registry.zookeeper_link import SharedSession, acquire_session, release_session
from unit_test.registry.zookeeper.tree import (
    SHORT_S,
    addresses,
    announcing,
    beat_until,
    new_name,
    plain_client,
    sharing,
    target_of,
    watching,
)

pytestmark = pytest.mark.live


def refusing(exc: Exception | None) -> Callable[..., Any]:
    """Return what a kazoo client does with a request that fails so; None: nobody answers."""

    def ask(client: Any, *_: Any, **__: Any) -> Any:
        result = client.handler.async_result()
        if exc is not None:
            result.set_exception(exc)
        return result

    return ask


@pytest.mark.parametrize(
    ("exc", "words"),
    [
        (refusals.NoAuthError(), "no permission by the node's ACL; see auth_file="),
        (refusals.AuthFailedError(), "refused our credentials"),
        (refusals.NotReadOnlyCallError(), "read-only: its ensemble has lost its quorum"),
        (refusals.ConnectionLoss(), "the connection to ZooKeeper broke"),
        (refusals.ConnectionClosedError(), "the connection to ZooKeeper broke"),
        (refusals.SessionExpiredError(), "the session of ZooKeeper has expired"),
        (refusals.NoChildrenForEphemeralsError(), "cannot have children"),
        (refusals.QuotaExceededError(), "ZooKeeper says QuotaExceeded"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_refusals_are_named(
    zookeeper: ZooKeeperCluster, monkeypatch: pytest.MonkeyPatch, exc: Exception, words: str
) -> None:
    with sharing(target_of(zookeeper.hosts())) as shared, monkeypatch.context() as patch:
        patch.setattr(KazooClient, "sync_async", refusing(exc))
        with pytest.raises(RegistryError, match=f"sync /x: .*{words}"):
            shared.sync("/x")


def test_a_request_that_nobody_answers_costs_the_session(
    zookeeper: ZooKeeperCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kazoo could carry it out much later; only the end of its session rules that out."""
    target = target_of(zookeeper.hosts(), 2 * SHORT_S, root=f"/{new_name('silent')}")
    monkeypatch.setattr(zookeeper_link, "ANSWER_MIN_S", 0.0)
    with (
        announcing(target, Announcement("127.0.0.1:1", ("a.B",))) as server,
        watching(target, "a.B") as view,
        sharing(target) as shared,
    ):
        before, number = shared.epoch, shared.id
        with monkeypatch.context() as patch:
            patch.setattr(KazooClient, "sync_async", refusing(None))
            with pytest.raises(RegistryError, match="no answer from ZooKeeper .*: sync /x"):
                shared.sync("/x")
        assert shared.epoch > before
        shared.ready(10.0)
        assert shared.id != number
        beat_until(server, lambda: addresses(view) == ["127.0.0.1:1"])


def test_a_node_that_is_there_and_is_not_is_named(
    zookeeper: ZooKeeperCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sharing(target_of(zookeeper.hosts())) as shared, monkeypatch.context() as patch:
        patch.setattr(KazooClient, "get_async", refusing(refusals.NoNodeError()))
        with pytest.raises(RegistryError, match="read /zookeeper: it appears and vanishes"):
            shared.read("/zookeeper", watch=True)
        assert shared.read("/zookeeper") is None


def test_what_is_not_as_it_was_is_left_as_it_is(zookeeper: ZooKeeperCluster) -> None:
    path = f"/{new_name('versions')}"
    with plain_client(zookeeper.hosts()) as plain, sharing(target_of(zookeeper.hosts())) as shared:
        shared.create_all({path: b"1"})
        shared.create_all({path: b"2"})
        assert not shared.change(path, b"2", 9)
        shared.delete_all({path: 9})
        assert not shared.replace(path, b"2", 9)
        assert plain.get(path)[0] == b"1"
        assert shared.change(path, b"2", 0)
        assert shared.replace(path, b"3", 1)
        assert plain.get(path)[0] == b"3"
        shared.delete_all({path: 0})
        shared.delete_all({path: 0})
        assert not plain.exists(path)
        shared.create_all({path: b"1"})
        with pytest.raises(RegistryError, match="create .*: the node above is ephemeral"):
            shared.create_all({f"{path}/below": b"1"})


def test_what_may_not_be_replaced_is_named(zookeeper: ZooKeeperCluster) -> None:
    path = f"/{new_name('guarded')}"
    theirs = CREATOR_ALL_ACL + READ_ACL_UNSAFE
    with (
        plain_client(zookeeper.hosts(), auth_data=[("digest", "a:b")]) as plain,
        sharing(target_of(zookeeper.hosts())) as shared,
    ):
        plain.create(path, acl=theirs)
        plain.create(f"{path}/node", b"1", acl=theirs, ephemeral=True)
        with pytest.raises(RegistryError, match=f"replace {path}/node: no permission"):
            shared.replace(f"{path}/node", b"2", 0)
        with pytest.raises(RegistryError, match=f"delete {path}/node: no permission"):
            shared.delete_all({f"{path}/node": 0})


def ask_twice(shared: SharedSession) -> None:
    """Ask: the refusal may come after the connection and after the first question."""
    for _ in range(2):
        shared.ready(10.0)
        shared.sync("/")


def test_refused_credentials_are_named_and_tried_again(
    zookeeper: ZooKeeperCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listener(path: str | None) -> None:
        pass

    plan = plan_of(target_of(zookeeper.hosts(), SHORT_S))
    with monkeypatch.context() as patch:
        patch.setattr(zookeeper_link, "credentials_of", lambda plan: (("unheard-of", "x"),))
        shared = acquire_session(plan, listener)
    try:
        said: list[bool] = []
        while sum(said) < 3:
            with pytest.raises(RegistryError, match="refused our cred|connection .* broke") as told:
                ask_twice(shared)
            said.append("refused" in str(told.value))
            assert len(said) < 30  # the end of the connection may now and then overtake the reason
        assert shared.epoch > 1
    finally:
        release_session(shared, listener)
