"""A C++ program with mprpc's bytes and ZooKeeper nodes calls our server, and is called by us."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from compare.zookeeper import ZooKeeperCluster

from libevrpc.mprpc import MprpcApplication, MprpcChannel, MprpcController, MprpcStub
from unit_test.fix_rpc import WAIT_S, wait_until
from unit_test.fix_services import require
from unit_test.mprpc.fixbug import (
    FRIEND,
    ROOT,
    USER,
    Friends,
    Users,
    configured,
    fixbug_pb2,
    providing,
)

BUILD_S = 240.0
pytestmark = [pytest.mark.live, pytest.mark.timeout(BUILD_S + 60.0)]  # the first one builds

HERE = Path(__file__).resolve().parent
HEADERS = {
    "protobuf-compiler": shutil.which("protoc"),
    "g++": shutil.which("g++"),
    "libprotobuf-dev": Path("/usr/include/google/protobuf/message_lite.h").exists(),
    "libzookeeper-mt-dev": Path("/usr/include/zookeeper/zookeeper.h").exists(),
}


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the program, which takes a few seconds."""
    require(", ".join(name for name, found in HEADERS.items() if not found))
    folder = tmp_path_factory.mktemp("mprpc-peer")
    for source in (ROOT / "samples" / "mprpc_user" / "fixbug.proto", HERE / "rpcheader.proto"):
        subprocess.run(
            ["protoc", f"--cpp_out=lite:{folder}", f"-I{source.parent}", source.name],
            cwd=source.parent,
            check=True,
        )
    libraries = ["-lprotobuf-lite", "-lzookeeper_mt", "-lpthread"]
    options = ["-std=c++17", "-DTHREADED", f"-I{folder}"]
    program = folder / "peer"
    subprocess.run(
        ["g++", *options, "-o", str(program), str(HERE / "peer.cc"), *libraries],
        check=True,
        timeout=BUILD_S,
    )
    return program


@pytest.fixture
def registry(zookeeper: ZooKeeperCluster, tmp_path: Path) -> Iterator[str]:
    """Configure this process for the real ZooKeeper; gives its address."""
    hosts = zookeeper.hosts()
    host, _, port = hosts.rpartition(":")
    configured(
        tmp_path,
        "rpcserverip=127.0.0.1",
        "rpcserverport=0",
        f"zookeeperip={host}",
        f"zookeeperport={port}",
    )
    yield hosts
    MprpcApplication.close()
    MprpcApplication.forget()


Consume = Callable[..., str]


@pytest.fixture
def consume(peer: Path, registry: str) -> Consume:
    """Give a function that calls with the C++ consumer and returns what it prints."""

    def run(service: str, method: str, *words: str, whole: bool = False) -> str:
        job = "whole" if whole else "call"
        done = subprocess.run(
            [str(peer), job, registry, service, method, *words],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout.strip()

    return run


def test_our_server_is_called_by_the_cpp_consumer(consume: Consume) -> None:
    user = "UserServiceRpc"
    with providing(Users(), Friends()):
        login = ("zhang san", "123456")
        wait_until(lambda: "is not exist!" not in consume(user, "Login", *login))
        assert consume(user, "Login", *login) == "success: 1 errcode: 0 errmsg:"
        assert consume(user, "Login", "zhang san", "?") == "success: 0 errcode: 1 errmsg:"
        # an answer without a byte is a success, as it is among mprpc's own
        assert consume(user, "Register", "1", "li si") == "success: 0 errcode: 0 errmsg:"
        small = consume("FriendServiceRpc", "GetFriendsList", "100")
        assert small == "friends: 2 first: gao yang bytes: 108 online: 1"
        for size in (3584, 3 << 20):
            found = consume("FriendServiceRpc", "GetFriendsList", str(size), whole=True)
            assert found == f"friends: 2 first: gao yang bytes: {size + 8} online: 1"
        # where the original provider leaves its caller waiting for ever
        assert consume(user, "Login", "raise") == "failed: recv error! errno:104"
        assert consume(user, "Logout") == "failed: /UserServiceRpc/Logout is not exist!"
    wait_until(lambda: "is not exist!" in consume(user, "Login"))


def test_a_method_that_has_gone_is_a_failed_recv(
    consume: Consume, registry: str, zookeeper: ZooKeeperCluster
) -> None:
    from unit_test.registry.zookeeper.tree import plain_client

    with providing(Users()) as provider, plain_client(registry) as plain:
        plain.create(
            "/UserServiceRpc/Logout",
            provider.server.address.encode(),
            ephemeral=True,
            makepath=True,
        )
        assert consume("UserServiceRpc", "Logout") == "failed: recv error! errno:104"
        plain.set("/UserServiceRpc/Logout", b"nowhere")
        wanted = "failed: /UserServiceRpc/Logout address is invalid!"
        assert consume("UserServiceRpc", "Logout") == wanted


@pytest.fixture
def provider(peer: Path, registry: str) -> Iterator[str]:
    """Let the C++ provider serve; gives its address."""
    with subprocess.Popen(
        [str(peer), "provide", registry], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().removeprefix("listening on ").strip()
        process.stdin.close()
        assert process.wait(WAIT_S) == 0


def login(name: str = "zhang san", pwd: str = "123456") -> Any:
    return fixbug_pb2.LoginRequest(name=name.encode(), pwd=pwd.encode())


def test_the_cpp_provider_is_called_by_our_client(provider: str) -> None:
    channel = MprpcChannel()
    user, friend = MprpcStub(USER, channel), MprpcStub(FRIEND, channel)
    controller = MprpcController()
    assert user.Login(controller, login()).success, controller.ErrorText()
    assert user.Login(controller, login(pwd="?")).result.errmsg == b"wrong"
    empty = user.Register(controller, fixbug_pb2.RegisterRequest(id=1))
    assert empty == fixbug_pb2.RegisterResponse()
    for size in (0, 3584, 3 << 20):
        asked = fixbug_pb2.GetFriendsListRequest(userid=size)
        found = friend.GetFriendsList(controller, asked)
        assert [len(each) for each in found.friends] == [8, size], controller.ErrorText()
        assert found.online == {"gao yang": True}


def failed(target: str, name: str, timeout_s: float, **settings: Any) -> str:
    """Call in vain; returns what the controller says."""
    controller = MprpcController()
    channel = MprpcChannel(target, timeout_s=timeout_s, **settings)
    response = MprpcStub(USER, channel).Login(controller, login(name))
    channel.Close()
    assert response is None
    return controller.ErrorText()


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("reset", "recv error! errno:1009 "),
        ("garbage", "parse error! "),
        ("hang", "recv error! errno:1008 deadline reached"),
    ],
)
def test_what_goes_wrong_there_is_named_here(provider: str, name: str, step: str) -> None:
    timeout_s = 1.0 if name == "hang" else WAIT_S
    assert failed(provider, name, timeout_s).startswith(step)


def test_a_path_that_is_not_there_is_named(registry: str, tmp_path: Path) -> None:
    target = f"zk://{registry}?layout=mprpc"
    said = failed(target, "anybody", 3.0, state_dir=str(tmp_path))  # else it remembers some
    assert said.startswith("/UserServiceRpc/Login is not exist! ")
