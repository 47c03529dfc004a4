"""mprpc's names: its file, its provider, its channel, and a controller that names the step."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libevrpc import CallFuture, ConfigError, RpcClient, RpcError, StatusCode, UsageError
from libevrpc.core.mprpc import encode_request
from libevrpc.errors import Errno
from libevrpc.mprpc import (
    FILE_BYTES_MAX,
    MprpcApplication,
    MprpcChannel,
    MprpcConfig,
    MprpcController,
    MprpcStub,
    RpcProvider,
    service_base,
)
from unit_test.fix_net import free_port
from unit_test.fix_peers import Peers, read_to_end
from unit_test.fix_rpc import WAIT_S
from unit_test.mprpc.fixbug import (
    FRIEND,
    USER,
    Friends,
    Users,
    configured,
    fixbug_pb2,
    providing,
)

pytestmark = pytest.mark.live
LOCAL = ("rpcserverip=127.0.0.1", "rpcserverport=0", "registry=none")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Leave no configuration and no client to the next test."""
    yield
    MprpcApplication.close()
    MprpcApplication.forget()


@pytest.fixture
def channel() -> Iterator[Callable[..., MprpcChannel]]:
    made: list[MprpcChannel] = []

    def make(target: str, **settings: Any) -> MprpcChannel:
        made.append(MprpcChannel(target, **settings))
        return made[-1]

    yield make
    for each in made:
        each.Close()


Make = Callable[..., MprpcChannel]


def login(name: bytes = b"zhang san", pwd: bytes = b"123456") -> Any:
    return fixbug_pb2.LoginRequest(name=name, pwd=pwd)


# -- the file ---------------------------------------------------------------------------


def test_blanks_and_comments_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "test.conf"
    path.write_text(
        "# all of it\n\n  rpcserverip = 127.0.0.1  # here\n\trpcserverport=80 00\r\nempty=\n#\n"
        "own=a=b\nown2=ü\n"
    )
    MprpcApplication.Init(["callee", "--more", "-i", str(path)])
    config = MprpcApplication.GetInstance().GetConfig()
    assert config.Load("rpcserverip") == "127.0.0.1"
    assert config.Load("rpcserverport") == "8000"
    assert config.Load("own") == "a=b"
    assert config.Load("own2") == "ü"
    assert config.Load("empty") == config.Load("missing") == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"rpcserverip 127.0.0.1", r"test.conf:1: 'rpcserverip127.0.0.1': write key=value"),
        (b"a=1\n=2", r"test.conf:2: '=2': write key=value"),
        (b"a=1\n\xff=2", r"test.conf:2: not UTF-8 text"),
        (b"#" * (FILE_BYTES_MAX + 1), "bytes are no configuration"),
    ],
)
def test_wrong_files_are_refused_by_line(tmp_path: Path, text: bytes, complaint: str) -> None:
    path = tmp_path / "test.conf"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=complaint):
        MprpcConfig().LoadConfigFile(path)


@pytest.mark.parametrize("argv", [["/a/callee"], ["callee", "-i"], ["callee", "test.conf"], []])
def test_the_command_line_needs_a_file(argv: list[str]) -> None:
    name = "callee" if argv else "PROGRAM"
    with pytest.raises(ConfigError, match=f"usage: {name} -i FILE"):
        MprpcApplication.Init(argv)
    with pytest.raises(ConfigError, match="/nowhere: cannot read it: No such file"):
        MprpcApplication.Init(["callee", "-i", "/nowhere"])
    with pytest.raises(UsageError, match=r"call MprpcApplication.Init\(sys.argv\) first"):
        MprpcApplication.GetInstance()
    with pytest.raises(UsageError, match="Init"):
        RpcProvider()
    with pytest.raises(UsageError, match="Init"):
        MprpcChannel()


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ((), "rpcserverip is missing; write rpcserverip=127.0.0.1"),
        (("rpcserverip=127.0.0.1",), "rpcserverport is missing; write rpcserverport=8000"),
        (LOCAL[:2], "zookeeperip is missing; write zookeeperip=127.0.0.1"),
        ((*LOCAL[:2], "zookeeperip=127.0.0.1"), "zookeeperport is missing"),
        ((*LOCAL, "threads=many"), "test.conf: threads = many: must be a whole number"),
        (("rpcserverip=127.0.0.1", "rpcserverport=x", "registry=none"), "port"),
        ((*LOCAL[:2], "registry=zzz://a:1"), "zzz"),
    ],
)
def test_what_a_provider_lacks_is_named(
    tmp_path: Path, lines: tuple[str, ...], complaint: str
) -> None:
    configured(tmp_path, *lines)
    with pytest.raises(ConfigError, match=complaint):
        RpcProvider()


def test_settings_of_ours_may_stand_in_the_file(tmp_path: Path) -> None:
    configured(tmp_path, *LOCAL, "threads=3", "body_bytes_max = 1 MiB", "timeout_s=0.25", "own=1")
    with providing(Users(), queue_max=7) as provider:
        settings = provider.server.settings
        assert (settings.threads, settings.queue_max, settings.registry) == (3, 7, "")
        assert settings.body_bytes_max == 1 << 20
        address = provider.server.address
        configured(tmp_path, *LOCAL[:2], f"registry={address}", "timeout_s=0.25")
        assert MprpcApplication.GetInstance().client().settings.timeout_s == 0.25
        with pytest.raises(UsageError, match="in the file"):
            MprpcChannel(timeout_s=3.0)
        configured(tmp_path, *LOCAL[:2], f"registry={address}", "timeout_s=0.5")
        assert MprpcApplication.GetInstance().client().settings.timeout_s == 0.5


# -- services ---------------------------------------------------------------------------


def test_services_are_called_by_their_short_names(tmp_path: Path, channel: Make) -> None:
    configured(tmp_path, *LOCAL)
    with providing(Users(), Friends()) as provider:
        carrier = channel(provider.server.address)
        user, friend = MprpcStub(USER, carrier), MprpcStub(FRIEND, carrier)
        controller = MprpcController()
        assert user.Login(controller, login()).success
        assert user.Login(None, login(pwd=b"?")).result.errcode == 1
        assert user.Register(controller, fixbug_pb2.RegisterRequest(id=1)) == (
            fixbug_pb2.RegisterResponse()
        )
        for size in (0, 3584, 3 << 20):
            found = friend.GetFriendsList(controller, fixbug_pb2.GetFriendsListRequest(userid=size))
            assert [len(each) for each in found.friends] == [8, size]
            assert found.online == {"gao yang": True}
        assert (controller.Failed(), controller.ErrorText()) == (False, "")
        # the same port speaks our own wire
        with RpcClient(provider.server.address) as client:
            assert client.stub(USER).Login(login()).success


def test_the_configured_client_is_shared(tmp_path: Path) -> None:
    configured(tmp_path, *LOCAL)
    with providing(Users()) as provider:
        configured(tmp_path, f"registry={provider.server.address}")
        first, second = MprpcChannel(), MprpcChannel()
        assert MprpcStub(USER, first).Login(None, login()).success
        first.Close()
        assert MprpcStub(USER, second).Login(None, login()).success
        application = MprpcApplication.GetInstance()
        assert application.client() is application.client()
    configured(tmp_path, "registry=none")
    with pytest.raises(ConfigError, match="registry=none leaves nobody to call"):
        MprpcChannel()


def test_what_is_no_service_is_refused(tmp_path: Path) -> None:
    configured(tmp_path, *LOCAL)
    provider = RpcProvider()
    for wrong in (object(), 3, fixbug_pb2.LoginRequest()):
        with pytest.raises(UsageError, match="NotifyService takes an object whose class"):
            provider.NotifyService(wrong)
    provider.NotifyService(Users())
    with pytest.raises(UsageError, match="a service called UserServiceRpc is served already"):
        provider.NotifyService(Users())


# -- failures ---------------------------------------------------------------------------


class Peer:
    """A provider that does one thing to its first caller."""

    def __init__(self, act: Callable[[socket.socket], object]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._act = act
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        sock.settimeout(WAIT_S)
        with sock:
            self._act(sock)

    def close(self) -> None:
        self._thread.join(WAIT_S)
        self._listener.close()


def answering(data: bytes) -> Callable[[socket.socket], object]:
    whole = encode_request("UserServiceRpc", "Login", login().SerializeToString())

    def act(sock: socket.socket) -> None:
        assert sock.recv(1 << 16) == whole
        sock.sendall(data)

    return act


def asked(target: str, channel: Make, request: Any = None, **settings: Any) -> MprpcController:
    controller = MprpcController()
    stub = MprpcStub(USER, channel(target, retries_max=0, **settings))
    assert stub.Login(controller, login() if request is None else request) is None
    assert controller.Failed()
    return controller


def test_a_controller_names_the_step_that_failed(tmp_path: Path, channel: Make) -> None:
    refused = asked(f"127.0.0.1:{free_port()}", channel)
    assert refused.ErrorText().startswith("connect error! errno:111 127.0.0.1:")
    assert refused.error is not None
    assert refused.error.code is StatusCode.UNAVAILABLE

    wrong = asked("127.0.0.1:1", channel, fixbug_pb2.RegisterRequest())
    assert wrong.ErrorText().startswith("serialize request error! ")
    assert wrong.error is None

    long = asked("127.0.0.1:1", channel, login(b"x" * 20_000), body_bytes_max=16_384)
    assert long.ErrorText().startswith("serialize request error! request of ")

    garbage = Peer(answering(b"\xff\xff\xff"))
    assert asked(garbage.address, channel).ErrorText().startswith("parse error! reply is not a ")
    garbage.close()

    with Peers(read_to_end) as silent:
        for timeout_s in (0.1, WAIT_S / 2):  # a busy machine may need longer to connect
            late = asked(silent.address, channel, timeout_s=timeout_s)
            if not late.ErrorText().startswith("connect error!"):
                break
    assert late.ErrorText().startswith("recv error! errno:1008 deadline reached")

    configured(tmp_path, *LOCAL)
    with providing(Users()) as provider:
        failed = asked(provider.server.address, channel, login(b"raise"))
        assert failed.ErrorText().startswith("recv error! errno:1009 ")
        assert "Connection reset by peer" in failed.ErrorText()
    lost = asked("nowhere.invalid:1", channel, timeout_s=3 * WAIT_S)
    assert lost.ErrorText().startswith("/UserServiceRpc/Login address is invalid! ")


def test_paths_where_no_error_can_be_told_are_not_called(channel: Make) -> None:
    refused = asked("unix:///nowhere/at/all", channel, timeout_s=0.5)
    assert "unix:///nowhere/at/all: an error there would read as an empty" in refused.ErrorText()


def test_without_a_controller_failures_are_raised(channel: Make) -> None:
    stub = MprpcStub(USER, channel(f"127.0.0.1:{free_port()}", retries_max=0))
    with pytest.raises(RpcError, match="cannot connect") as caught:
        stub.Login(None, login())
    assert caught.value.errno == 111
    with pytest.raises(UsageError, match=r"takes a fixbug.LoginRequest"):
        stub.Login(None, 3)
    with pytest.raises(AttributeError, match="no method 'Logout'; it has Login, Register"):
        stub.Logout(None, 3)


def test_names_too_long_for_a_header_fail_at_that_step(channel: Make) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

    file = FileDescriptorProto(name="long.proto", syntax="proto3")
    file.message_type.add(name="Nothing")
    service = file.service.add(name="Long")
    service.method.add(name="M" * 1100, input_type=".Nothing", output_type=".Nothing")
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindServiceByName("Long")
    from google.protobuf.message_factory import GetMessageClass

    controller = MprpcController()
    stub = MprpcStub(descriptor, channel("127.0.0.1:1", retries_max=0))
    request = GetMessageClass(descriptor.methods[0].input_type)()
    assert getattr(stub, "M" * 1100)(controller, request) is None
    assert controller.ErrorText().startswith("serialize rpc header error! mprpc header of ")


def test_controllers_reset_fail_and_cancel(tmp_path: Path, channel: Make) -> None:
    configured(tmp_path, *LOCAL)
    users = Users()
    with providing(users) as provider:
        stub = MprpcStub(USER, channel(provider.server.address))
        controller = MprpcController()
        controller.SetFailed("mine")
        assert (controller.Failed(), controller.ErrorText()) == (True, "mine")
        controller.Reset()
        assert (controller.Failed(), controller.ErrorText()) == (False, "")
        told: list[str] = []
        controller.NotifyOnCancel(lambda: told.append("before"))
        ended = threading.Event()
        responses: list[Any] = []

        def done(response: Any) -> None:
            responses.append(response)
            ended.set()

        assert stub.Login(controller, login(b"wait"), done) is None
        assert users.entered.wait(WAIT_S)
        assert not controller.IsCanceled()
        controller.StartCancel()
        controller.NotifyOnCancel(lambda: told.append("after"))
        assert ended.wait(WAIT_S)
        assert users.cancelled.wait(WAIT_S)  # it hears of it, too
        assert (told, responses) == (["before", "after"], [None])
        assert controller.IsCanceled()
        assert controller.ErrorText().startswith("call canceled! ")
        assert controller.error is not None
        assert controller.error.errno == Errno.CANCELLED
        # who cancels first is not called at all, or given up at once
        assert stub.Login(controller, login(b"wait")) is None
        controller.Reset()
        ended.clear()
        assert stub.Login(controller, login(), done) is None
        assert ended.wait(WAIT_S)
        assert responses[-1].success
        assert stub.Login(controller, 3, done) is None
        assert responses[-1] is None


def test_a_hook_beside_a_cancel_is_called_once() -> None:
    """Who cancels does so on a thread of his own, also while a hook is being added."""
    controller = MprpcController()
    told: list[str] = []

    class Late(dict[object, Any]):
        def __setitem__(self, key: object, hook: Any) -> None:
            controller.StartCancel()
            super().__setitem__(key, hook)

    controller._on_cancel = Late()  # noqa: SLF001 - the moment between a look and what follows
    controller.NotifyOnCancel(lambda: told.append("told"))
    controller.StartCancel()
    assert told == ["told"]


def test_an_interrupt_ends_the_call(
    tmp_path: Path, channel: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(tmp_path, *LOCAL)
    users = Users()

    def interrupted(future: CallFuture, timeout_s: float | None = None) -> None:
        assert users.entered.wait(WAIT_S)
        raise KeyboardInterrupt

    with providing(users) as provider:
        stub = MprpcStub(USER, channel(provider.server.address, timeout_s=6 * WAIT_S))
        monkeypatch.setattr(CallFuture, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stub.Login(None, login(b"wait"))
        assert users.cancelled.wait(WAIT_S)


def test_a_service_of_another_package_with_the_same_name_is_refused(tmp_path: Path) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

    file = FileDescriptorProto(name="other.proto", package="other", syntax="proto3")
    file.message_type.add(name="Nothing")
    service = file.service.add(name="UserServiceRpc")
    service.method.add(name="Login", input_type=".other.Nothing", output_type=".other.Nothing")
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    configured(tmp_path, *LOCAL)
    provider = RpcProvider()
    provider.NotifyService(Users())
    other = service_base(pool.FindServiceByName("other.UserServiceRpc"))
    with pytest.raises(UsageError, match="callers could not tell"):
        provider.NotifyService(other())
