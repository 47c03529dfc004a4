"""The one session of a process: shared, lost, replaced, refused, left behind by a fork."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from compare.zookeeper import ZooKeeperCluster
from kazoo.security import make_digest_acl

from libevrpc.errors import ConfigError
from libevrpc.registry.base import Announcement
from libevrpc.registry.session import RegistryError
from libevrpc.registry.zookeeper import (
    ZooKeeperAnnounceSession,
    ZooKeeperWatchSession,
    registrar,
    resolver,
)
from libevrpc.registry.zookeeper_link import SharedSession
from libevrpc.settings import ClientSettings, ServerSettings
from unit_test.fix_fork import result_in_child
from unit_test.fix_rpc import wait_until
from unit_test.registry.zookeeper.tree import (
    SHORT_S,
    Told,
    addresses,
    announcing,
    beat_until,
    changes,
    expire,
    new_name,
    plain_client,
    sharing,
    target_of,
    watching,
)

pytestmark = pytest.mark.live

ECHO = Announcement("127.0.0.1:1", ("a.B",))
USER = "user:password"


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if "zookeeper" in each.name]


def test_all_of_a_process_share_one_session(zookeeper: ZooKeeperCluster) -> None:
    target = target_of(zookeeper.hosts(), root=f"/{new_name('share')}")
    with ExitStack() as stack:
        first = stack.enter_context(sharing(target))
        for number in range(1, 4):
            stack.enter_context(announcing(target, Announcement(f"127.0.0.1:{number}", ("a.B",))))
            stack.enter_context(watching(target, "a.B"))
        elsewhere = target_of(zookeeper.hosts(), root="/elsewhere", layout="mprpc")
        assert stack.enter_context(sharing(elsewhere)) is first
        assert threads() == ["libevrpc-zookeeper"] * 3
    wait_until(lambda: not threads())


def test_who_leaves_without_a_word_leaves_nothing_in_a_session_that_goes_on(
    zookeeper: ZooKeeperCluster,
) -> None:
    target = target_of(zookeeper.hosts(), root=f"/{new_name('leave')}")
    with watching(target, "a.B") as session:
        with announcing(target, ECHO):
            assert changes(session) == ["127.0.0.1:1"]
        assert addresses(session) == []


def test_who_leaves_while_all_are_cut_off_leaves_nothing_either(
    zookeeper: ZooKeeperCluster,
) -> None:
    """The session that would keep his node is given up by all; the others announce again."""
    target = target_of(zookeeper.hosts(), 2 * SHORT_S, root=f"/{new_name('cut')}")
    other = Announcement("127.0.0.1:2", ("a.B",))
    with announcing(target, other) as stays, watching(target, "a.B") as session:
        leaves = ZooKeeperAnnounceSession(target)
        leaves.open()
        leaves.put(ECHO)
        assert addresses(session) == ["127.0.0.1:1", "127.0.0.1:2"]
        zookeeper.nodes[1].kill()
        leaves.close()
        zookeeper.mend()
        with sharing(target) as shared:
            shared.ready(10.0)
        beat_until(stays, lambda: addresses(session) == ["127.0.0.1:2"])


def test_who_leaves_beside_another_who_leaves_begins_no_session_anew(
    zookeeper: ZooKeeperCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one takes back his node in a session that the other, its last user, has ended."""
    target = target_of(zookeeper.hosts(), root=f"/{new_name('both')}")
    server = ZooKeeperAnnounceSession(target)
    with watching(target, "a.B") as session:
        server.open()
        server.put(ECHO)
        read_all = SharedSession.read_all

        def meanwhile(*words: Any, **more: Any) -> Any:
            session.close()
            return read_all(*words, **more)

        with monkeypatch.context() as patch:
            patch.setattr(SharedSession, "read_all", meanwhile)
            server.close()
    wait_until(lambda: not threads())
    with plain_client(zookeeper.hosts()) as plain:
        assert not plain.exists(f"{target.query['root']}/a.B/127.0.0.1:1")


def test_a_session_that_expires_is_made_anew(zookeeper: ZooKeeperCluster) -> None:
    target = target_of(zookeeper.hosts(), root=f"/{new_name('expire')}")
    with (
        announcing(target, ECHO) as server,
        watching(target, "a.B") as session,
        sharing(target) as shared,
    ):
        assert addresses(session) == ["127.0.0.1:1"]
        before, number = shared.epoch, shared.id
        expire(zookeeper.hosts(), shared)
        wait_until(lambda: shared.epoch > before and shared.connected)
        assert shared.id != number
        beat_until(server, lambda: addresses(session) == ["127.0.0.1:1"])
        with plain_client(zookeeper.hosts()) as plain:
            path = f"{target.query['root']}/a.B/127.0.0.1:1"
            assert plain.get(path)[1].ephemeralOwner == shared.id
            plain.set(path, plain.get(path)[0].replace(b"1.0", b"2.0"))
        assert changes(session) == ["127.0.0.1:1"]  # watched in the new session, too


def test_engine_and_adapter_survive_an_expiry(zookeeper: ZooKeeperCluster, tmp_path: Path) -> None:
    target = target_of(zookeeper.hosts(), root=f"/{new_name('engine')}")
    told = Told()
    server = registrar(target, ServerSettings(state_dir=str(tmp_path)))
    client = resolver(target, "a.B", ClientSettings(state_dir=str(tmp_path)))
    server.start(ECHO, lambda: None)  # type: ignore[arg-type, return-value]
    client.start(told)
    try:
        wait_until(lambda: told.addresses == ["127.0.0.1:1"])
        with sharing(target) as shared:
            for _ in range(2):
                before = shared.epoch
                expire(zookeeper.hosts(), shared)
                wait_until(lambda epoch=before: shared.epoch > epoch)
        with watching(target, "a.B") as session:
            wait_until(lambda: addresses(session) == ["127.0.0.1:1"])
        wait_until(lambda: told.addresses == ["127.0.0.1:1"])
    finally:
        assert server.withdraw(10.0)
        server.close()
        client.close()


def test_a_refused_connection_is_named_and_makes_no_noise(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        target = target_of(f"127.0.0.1:{port}", SHORT_S)
        session, view = ZooKeeperAnnounceSession(target), ZooKeeperWatchSession(target, "a.B")
        with pytest.raises(RegistryError):  # perhaps before it was dialled at all
            view.open()
        wait_until(lambda: "Connection refused" in view.doubt())
        with pytest.raises(RegistryError) as caught:
            session.open()
        session.close()
        view.close()
    assert str(caught.value) == (
        f"no connection to ZooKeeper 127.0.0.1:{port}"
        f" (last tried 127.0.0.1:{port}: Connection refused)"
    )
    assert [each for each in caplog.records if each.levelno >= logging.INFO] == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x25" + b"\xff" * 37, b"\0\0\0\x02ab"],
    ids=["another protocol", "garbage", "half a reply"],
)
def test_a_server_of_another_kind_is_survived(
    answer: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(100)
                    peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            session = ZooKeeperAnnounceSession(
                target_of(f"127.0.0.1:{listener.getsockname()[1]}", SHORT_S)
            )
            with pytest.raises(RegistryError, match="no connection to ZooKeeper 127"):
                session.open()
            session.close()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert "Traceback" not in capfd.readouterr().err


def test_nodes_of_credentials_can_be_read_by_all_and_changed_by_their_holders(
    zookeeper: ZooKeeperCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    root = f"/{new_name('auth')}"
    secret = tmp_path / "zk"
    secret.write_text(f"{USER}\n")
    secret.chmod(0o600)
    known = target_of(zookeeper.hosts(), root=root, auth_file=secret)
    unknown = target_of(zookeeper.hosts(), root=root)
    with announcing(known, ECHO):
        with watching(unknown, "a.B") as session:
            assert addresses(session) == ["127.0.0.1:1"]
        with (
            pytest.raises(RegistryError, match=f"create {root}/a.B/.*no permission.*auth_file"),
            announcing(unknown, Announcement("127.0.0.1:2", ("a.B",))),
        ):
            raise AssertionError("announced")
        with plain_client(zookeeper.hosts(), auth_data=[("digest", USER)]) as plain:
            acl = plain.get_acls(f"{root}/a.B")[0]
            user, _, password = USER.partition(":")
            assert make_digest_acl(user, password, all=True) in acl
    assert USER not in caplog.text


def test_a_name_that_leads_nowhere_is_named() -> None:
    session = ZooKeeperAnnounceSession(target_of("nowhere.invalid:2181", SHORT_S))
    with pytest.raises(RegistryError, match="no connection to ZooKeeper nowhere.invalid:2181"):
        session.open()
    session.close()


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        ("userpassword\n", 0o600, "write one line, user:password"),
        (":password\n", 0o600, "write one line, user:password"),
        (f"{USER}\n", 0o644, "others may read or write it"),
        ("", 0o600, "nothing stands in it"),
    ],
)
def test_bad_credentials_are_named_at_once(
    tmp_path: Path, text: str, mode: int, complaint: str
) -> None:
    secret = tmp_path / "zk"
    secret.write_text(text)
    secret.chmod(mode)
    target = target_of("127.0.0.1:1", auth_file=secret)
    with pytest.raises(ConfigError, match=complaint):
        registrar(target, ServerSettings())
    with pytest.raises(ConfigError, match=complaint):
        resolver(target, "a.B", ClientSettings(state_dir=str(tmp_path)))


def test_a_forked_child_leaves_the_session_to_its_parent(zookeeper: ZooKeeperCluster) -> None:
    target = target_of(zookeeper.hosts(), root=f"/{new_name('fork')}")
    with announcing(target, ECHO) as server, watching(target, "a.B") as session:
        assert addresses(session) == ["127.0.0.1:1"]
        assert result_in_child(lambda: _in_child(session, target)) == 0
        server.wake()
        server.beat(1.0)
        assert addresses(session) == ["127.0.0.1:1"]


def _in_child(session: Any, target: Any) -> int:  # pragma: no cover - in a child
    """Return 0 if the parent's session refuses and a new one works."""
    try:
        session.fetch()
    except RegistryError as exc:
        if "belongs to the parent" not in str(exc):
            return 1
    else:
        return 2
    session.close()
    with watching(target, "a.B") as own:
        return 0 if addresses(own) == ["127.0.0.1:1"] else 3
