"""Calls over mprpc's layout: they follow a method's provider, whoever that is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from compare.zookeeper import ZooKeeperCluster

from libevrpc import RpcClient, RpcError, RpcServer, StatusCode
from libevrpc.cli.main import main
from unit_test.fix_net import free_port
from unit_test.fix_rpc import ECHO, EchoHandler, request, wait_until
from unit_test.registry.zookeeper.tree import new_name, plain_client, target_of

pytestmark = pytest.mark.live


@contextmanager
def provider(target: str, folder: Path) -> Iterator[RpcServer]:
    server = RpcServer("127.0.0.1:0", threads=1, workers=2, registry=target, state_dir=str(folder))
    server.add_service(EchoHandler(), ECHO)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("wire", ["prpc", "mprpc"])
def test_the_provider_who_stands_by_takes_over(
    zookeeper: ZooKeeperCluster, tmp_path: Path, wire: str
) -> None:
    root = f"/{new_name('takeover')}"
    target = target_of(zookeeper.hosts(), layout="mprpc", root=root).text
    path = f"{root}/EchoService/Echo"

    def answered(stub: object) -> bool:
        try:
            return bool(stub.Echo(request("x")).response == "x")  # type: ignore[attr-defined]
        except RpcError as exc:  # for a moment: the one provider has gone
            if exc.code is not StatusCode.UNAVAILABLE:
                raise
            return False

    with (
        plain_client(zookeeper.hosts()) as plain,
        RpcClient(target, wire=wire, state_dir=str(tmp_path)) as client,
        ExitStack() as first,
    ):
        stub = client.stub(ECHO)
        old = first.enter_context(provider(target, tmp_path))
        assert stub.Echo(request("x")).response == "x"
        with provider(target, tmp_path) as new:
            assert plain.get(path)[0] == old.address.encode()
            first.close()
            wait_until(lambda: answered(stub))
            assert plain.get(path)[0] == new.address.encode()
            assert [each.address for each in client.endpoints()] == [new.address]


@pytest.mark.parametrize("wire", ["prpc", "mprpc"])
def test_after_a_goodbye_calls_wait_for_the_next_provider(
    zookeeper: ZooKeeperCluster, tmp_path: Path, wire: str
) -> None:
    root = f"/{new_name('gap')}"
    target = target_of(zookeeper.hosts(), layout="mprpc", root=root).text
    with RpcClient(target, wire=wire, state_dir=str(tmp_path), timeout_s=30.0) as client:
        echo = client.stub(ECHO).Echo
        with provider(target, tmp_path):
            assert echo(request("x")).response == "x"
        wait_until(lambda: not client.endpoints())
        waits = [echo.future(request("y")) for _ in range(3)]
        with pytest.raises(RpcError, match="EchoService/Echo has no server in registry"):
            echo(request("z"), timeout_s=0.05)
        assert not any(each.done() for each in waits)
        with provider(target, tmp_path):
            assert [each.result(30.0).response for each in waits] == ["y"] * 3


def test_after_a_crash_calls_fail_at_once_until_the_standby_takes_over(
    zookeeper: ZooKeeperCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The node of a killed provider stays for as long as its session."""
    caplog.set_level("INFO", "libevrpc.registry.announcer")
    root = f"/{new_name('crash')}"
    target = target_of(zookeeper.hosts(), layout="mprpc", root=root).text
    path, dead = f"{root}/EchoService/Echo", f"127.0.0.1:{free_port()}"
    with (
        plain_client(zookeeper.hosts()) as killed,
        RpcClient(target, state_dir=str(tmp_path), timeout_s=30.0) as client,
    ):
        killed.create(path, dead.encode(), ephemeral=True, makepath=True)
        echo = client.stub(ECHO).Echo
        with provider(target, tmp_path) as standby:
            with pytest.raises(RpcError, match=f"{dead}: cannot connect"):
                echo(request("x"))
            said = f"address={standby.address} registry={target}"
            wait_until(lambda: f"stands by {said}: 1 of 1 nodes are of others" in caplog.text)
            assert f"announced {said}" not in caplog.text
            killed.delete(path)
            wait_until(lambda: standby.address in [each.address for each in client.endpoints()])
            assert echo(request("x")).response == "x"
            wait_until(lambda: f"announced {said}" in caplog.text)


@pytest.mark.parametrize("named", ["", "Foo"], ids=["any service", "a service in the target"])
def test_each_method_is_called_at_its_own_provider(
    zookeeper: ZooKeeperCluster, tmp_path: Path, named: str
) -> None:
    """Two servers of one service: each has one of its methods, and the node of that one."""

    class One:
        def who(self) -> str:
            return "one"

    class Two:
        def where(self) -> str:
            return "two"

    root = f"/{new_name('methods')}"
    target = target_of(zookeeper.hosts(), layout="mprpc", root=root).text
    with ExitStack() as stack:
        for each in (One(), Two()):
            server = RpcServer(
                "127.0.0.1:0", threads=1, workers=2, registry=target, state_dir=str(tmp_path)
            )
            server.add_object(each, "Foo")
            server.start()
            stack.callback(server.stop)
        client = stack.enter_context(
            RpcClient(
                target.replace("?", f"/{named}?") if named else target, state_dir=str(tmp_path)
            )
        )
        for _ in range(10):
            assert client.call("Foo.who") == "one"
            assert client.call("Foo.where") == "two"


def test_a_short_deadline_is_enough_to_learn_that_zookeeper_is_down(tmp_path: Path) -> None:
    hosts = f"127.0.0.1:{free_port()}"
    with RpcClient(f"zk://{hosts}", state_dir=str(tmp_path)) as client:
        echo = client.stub(ECHO).Echo

        def told() -> str:
            with pytest.raises(RpcError) as failed:
                echo(request("x"), timeout_s=0.1)
            assert failed.value.code is StatusCode.UNAVAILABLE
            return failed.value.text

        text = (
            f"registry zk://{hosts} cannot tell who offers service echo.EchoService (no connection"
            f" to ZooKeeper {hosts} (last tried {hosts}: Connection refused))"
        )
        wait_until(lambda: told() == text)


def test_a_client_or_server_that_ends_waits_for_no_zookeeper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its dial is given up: else this test would last for a minute, twice."""
    monkeypatch.setattr("libevrpc.registry.zookeeper_link.GRACE_MAX_S", 3600.0)
    target = f"zk://127.0.0.1:{free_port()}?expiry=120"
    with RpcClient(target, state_dir=str(tmp_path)) as client, pytest.raises(RpcError):
        client.stub(ECHO).Echo(request("x"), timeout_s=0.05)
    with provider(target, tmp_path):
        pass
    names = {each.name for each in threading.enumerate()}
    assert not names & {"libevrpc-watch", "libevrpc-announce"}


def test_the_program_calls_who_stands_in_mprpcs_tree(
    zookeeper: ZooKeeperCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    root = f"/{new_name('program')}"
    target = target_of(zookeeper.hosts(), layout="mprpc", root=root).text
    with provider(target, tmp_path):
        words = ["echo.EchoService/Echo", "-d", '{"request": "hi"}', "--timeout", "30"]
        assert main(["call", target, *words]) == 0
        assert json.loads(capsys.readouterr().out) == {"response": "hi"}


def test_a_mistyped_method_or_service_is_told_with_those_there_are(
    zookeeper: ZooKeeperCluster, tmp_path: Path
) -> None:
    root = f"/{new_name('named')}"
    target = target_of(zookeeper.hosts(), layout="mprpc", root=root).text

    class Foo:
        def who(self) -> str:
            return "foo"

    def told(client: RpcClient, method: str) -> str:
        with pytest.raises(RpcError) as failed:
            client.call(method, timeout_s=0.2)
        return failed.value.text

    server = RpcServer("127.0.0.1:0", threads=1, workers=1, registry=target)
    server.add_object(Foo())
    with server, RpcClient(target, state_dir=str(tmp_path)) as client:
        assert client.call("Foo.who", timeout_s=30.0) == "foo"
        there = f" has no server in registry {target}; known there: "
        wait_until(lambda: told(client, "Foo.hwo") == f"service Foo/hwo{there}Foo/who")
        wait_until(lambda: told(client, "Fooo.who") == f"service Fooo/who{there}Foo")
