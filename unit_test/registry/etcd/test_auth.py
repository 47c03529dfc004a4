"""User and password, on a real etcd that wants them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from compare.etcd import EtcdCluster

from libevrpc.core.endpoints import parse_endpoint
from libevrpc.registry.base import Announcement
from libevrpc.registry.etcd import EtcdAnnounceSession
from libevrpc.registry.etcd_gateway import EtcdGateway
from libevrpc.registry.etcd_layouts import EtcdPlan, OwnLayout
from libevrpc.registry.etcd_watch import EtcdWatchSession
from libevrpc.registry.session import RegistryError
from unit_test.fix_services import require
from unit_test.registry.etcd.plain import ask, spelled

pytestmark = pytest.mark.live

SERVER = Announcement("127.0.0.1:1", ("a.Foo",))


class GuardedEtcd(EtcdCluster):
    """Passwords are checked as cheaply as etcd can: a busy machine answers in time."""

    def command(self, node: int) -> tuple[list[str], Mapping[str, str]]:
        words, environment = super().command(node)
        return [*words, "--bcrypt-cost", "4"], environment


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of an etcd that lets `bob` (pw) write below /bob, and root everywhere."""
    from compare import etcd as kind

    require(kind.missing())
    with GuardedEtcd(tmp_path_factory.mktemp("etcd-guarded"), 1) as cluster:
        address = cluster.address(1)
        for name in ("root", "bob"):
            ask(address, "/v3/auth/user/add", {"name": name, "password": "pw"})
            ask(address, "/v3/auth/role/add", {"name": name})
            ask(address, "/v3/auth/user/grant", {"user": name, "role": name})
        below = {"permType": "READWRITE", "key": spelled("/bob/"), "range_end": spelled("/bob0")}
        ask(address, "/v3/auth/role/grant", {"name": "bob", "perm": below})
        ask(address, "/v3/auth/enable", {})
        yield address


def plan(address: str, folder: Path, who: str, root: str = "/bob") -> EtcdPlan:
    path = folder / "who"
    path.write_text(who)
    path.chmod(0o600)
    return EtcdPlan((parse_endpoint(address),), OwnLayout(root), 30, str(path) if who else "")


def test_who_shows_the_right_password_announces_and_watches(guarded: str, tmp_path: Path) -> None:
    wanted = plan(guarded, tmp_path, "bob:pw")
    session, view = EtcdAnnounceSession(wanted), EtcdWatchSession(wanted, "a.Foo")
    with closing(session), closing(view):
        session.open()
        view.open()
        session.put(SERVER)
        assert view.wait(20.0)
        assert [each.address for each in view.fetch()] == [SERVER.address]
        session.remove()
        assert view.wait(20.0)


def test_a_token_that_has_run_out_is_replaced(guarded: str, tmp_path: Path) -> None:
    with closing(EtcdGateway(plan(guarded, tmp_path, "bob:pw"))) as gateway:
        question = {"key": spelled("/bob/x")}
        gateway.ask("/v3/kv/range", question)
        given = ask(guarded, "/v3/auth/authenticate", {"name": "root", "password": "pw"})
        assert given["token"]
        gateway._token = "nobody.7"  # noqa: SLF001 - as etcd sees one that it has forgotten
        gateway.ask("/v3/kv/range", question)
        gateway._token = "nobody.8"  # noqa: SLF001
        with pytest.raises(RegistryError, match="invalid auth token"):
            gateway.watch(spelled("/bob/"), spelled("/bob0"), 1)
        gateway.watch(spelled("/bob/"), spelled("/bob0"), 1).close()


def announce(session: EtcdAnnounceSession) -> None:
    session.open()
    session.put(SERVER)


@pytest.mark.parametrize(
    ("who", "root", "told"),
    [
        ("bob:wrong", "/bob", "invalid user ID or password"),
        ("bob:pw", "/other", "permission denied"),
        ("", "/bob", r"user name is empty; the target needs \?auth_file="),
    ],
)
def test_who_may_not_is_told_why(
    guarded: str, tmp_path: Path, who: str, root: str, told: str
) -> None:
    wanted = plan(guarded, tmp_path, who, root)
    session, view = EtcdAnnounceSession(wanted), EtcdWatchSession(wanted, "a.Foo")
    with closing(session), closing(view):
        with pytest.raises(RegistryError, match=f"etcd {guarded} refuses: .*{told}"):
            announce(session)
        with pytest.raises(RegistryError, match=f"etcd {guarded} refuses: .*{told}"):
            view.open()
