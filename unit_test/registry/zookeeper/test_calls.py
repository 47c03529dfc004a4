"""Calls over mprpc's layout: they follow a method's provider, whoever that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from compare.zookeeper import ZooKeeperCluster

from libevrpc import RpcClient, RpcError, RpcServer, StatusCode
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
