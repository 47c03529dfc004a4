"""One call to all servers at once: results, the first error, and who is not there."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from libevrpc import CallFuture, RpcClient, RpcError, RpcServer, StatusCode, inline
from libevrpc import UsageError as Misuse
from libevrpc.client import broadcast as broadcast_module
from libevrpc.client.started import FutureInvocation
from libevrpc.core.endpoints import EndpointSet, parse_endpoint
from unit_test.fix_net import free_port
from unit_test.fix_rpc import ECHO, WAIT_S, EchoHandler, echo_pb2, request, wait_until

pytestmark = pytest.mark.live


class Foo:
    """Adds, counts, and fails or waits where it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False
        self.waits = False
        self.release = threading.Event()

    def sum(self, numbers: list[int]) -> int:
        self.calls += 1
        if self.waits:
            self.release.wait(WAIT_S)
        if self.fails:
            raise ValueError("as asked")
        return sum(numbers)

    Sum = sum


@pytest.fixture
def foos() -> Iterator[dict[str, Foo]]:
    servers = []
    found: dict[str, Foo] = {}
    for _ in range(3):
        server = RpcServer("127.0.0.1:0", threads=1, workers=2)
        foo = Foo()
        server.add_object(foo, name="Foo")
        server.add_service(EchoHandler(), ECHO)
        server.start()
        servers.append(server)
        found[server.address] = foo
    yield found
    for foo in found.values():
        foo.release.set()
    for server in servers:
        server.stop(0.0)


def target_of(foos: dict[str, Foo], *more: str) -> str:
    return "list://" + ",".join([*foos, *more])


wires = pytest.mark.parametrize("wire", ["prpc", "tinyrpc", "tinyrpc-http"])


@wires
@pytest.mark.parametrize("mode", ["first_error", "all"])
def test_every_server_is_called_once(foos: dict[str, Foo], wire: str, mode: Any) -> None:
    with RpcClient(target_of(foos), wire=wire) as client:
        found = client.broadcast("Foo.Sum", [1, 2, 3], mode=mode, result=int)
    assert found == dict.fromkeys(foos, 6)
    assert list(found) == list(foos)
    assert [foo.calls for foo in foos.values()] == [1, 1, 1]


@wires
def test_the_first_error_ends_the_others(foos: dict[str, Foo], wire: str) -> None:
    first, second, third = foos.values()
    first.waits = third.waits = True
    second.fails = True
    with (
        RpcClient(target_of(foos), wire=wire) as client,
        pytest.raises(RpcError, match="as asked") as caught,
    ):
        client.broadcast("Foo.Sum", [1], timeout_s=WAIT_S)
    assert caught.value.code is StatusCode.UNKNOWN
    assert not first.release.is_set()


@wires
def test_each_server_has_its_own_result(foos: dict[str, Foo], wire: str) -> None:
    addresses = list(foos)
    foos[addresses[1]].fails = True
    foos[addresses[2]].waits = True
    dead = f"127.0.0.1:{free_port()}"
    with RpcClient(target_of(foos, dead), wire=wire, retries_max=0) as client:
        for timeout_s in (0.5, WAIT_S / 2):  # a busy machine may need longer for the others
            found = client.broadcast("Foo.Sum", [1, 2], timeout_s=timeout_s, mode="all")
            codes = [getattr(each, "code", None) for each in found.values()]
            if codes.count(StatusCode.DEADLINE_EXCEEDED) == 1:
                break
    assert found[addresses[0]] == 3
    assert found[addresses[1]].code is StatusCode.UNKNOWN
    assert found[addresses[2]].code is StatusCode.DEADLINE_EXCEEDED
    assert found[dead].code is StatusCode.UNAVAILABLE
    assert "Connection refused" in found[dead].text


@pytest.mark.parametrize("wire", ["prpc", "mprpc"])
def test_stubs_broadcast(foos: dict[str, Foo], wire: str) -> None:
    with RpcClient(target_of(foos), wire=wire) as client:
        echo = client.stub(ECHO).Echo
        assert echo.broadcast(request("x")) == dict.fromkeys(
            foos, echo_pb2.EchoResponse(response="x")
        )
        with pytest.raises(Misuse, match=r"takes an echo\.EchoRequest"):
            echo.broadcast("x")


def test_one_server_is_a_set_too(foos: dict[str, Foo]) -> None:
    address = next(iter(foos))
    with RpcClient(address) as client:
        assert client.broadcast("Foo.Sum", [4]) == {address: 4}
        assert client.call("Foo.Sum", [4]) == 4


def test_its_calls_are_logged_where_calls_are(
    foos: dict[str, Foo], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "libevrpc.calls.client")
    with RpcClient(target_of(foos), log_calls=True) as client:
        client.broadcast("Foo.Sum", [4])
    assert caplog.text.count("reply ") == 3


def test_few_at_once_reach_everybody(foos: dict[str, Foo], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast_module, "AT_ONCE_MAX", 1)
    dead = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    with RpcClient(target_of(foos, *dead), retries_max=0) as client:
        found = client.broadcast("Foo.Sum", [1], mode="all", timeout_s=WAIT_S)
    assert [found[address] for address in foos] == [1, 1, 1]
    assert all(found[address].code is StatusCode.UNAVAILABLE for address in dead)


def test_many_that_fail_at_once_need_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    target = "list://" + ",".join(f"10.255.{n // 250}.{n % 250 + 1}:9" for n in range(3000))
    with RpcClient(target) as client:
        found = client.broadcast("Foo.Sum", [1], mode="all", timeout_s=1e-9)
    assert len(found) == 3000
    assert {each.code for each in found.values()} == {StatusCode.DEADLINE_EXCEEDED}


def test_closing_ends_a_broadcast(foos: dict[str, Foo]) -> None:
    for foo in foos.values():
        foo.waits = True
    client = RpcClient(target_of(foos))
    caught: queue.SimpleQueue[object] = queue.SimpleQueue()

    def caller() -> None:
        try:
            caught.put(client.broadcast("Foo.Sum", [1], timeout_s=WAIT_S, mode="all"))
        except RpcError as exc:
            caught.put(exc)

    thread = threading.Thread(target=caller)
    thread.start()
    while not all(foo.calls for foo in foos.values()):
        threading.Event().wait(0.005)
    client.close()
    found: Any = caught.get(timeout=WAIT_S)
    thread.join()
    assert {each.text for each in found.values()} == {"client is closed"}


def test_a_remembered_list_is_told_too_late_for_nobody(
    foos: dict[str, Foo], tmp_path: Path
) -> None:
    """Servers become known while it waits, though no registry vouches for them."""
    found: queue.SimpleQueue[object] = queue.SimpleQueue()
    with RpcClient(f"file://{tmp_path}/none", state_dir=str(tmp_path)) as client:
        router, _ = client.route("Foo")

        def caller() -> None:
            try:
                found.put(client.broadcast("Foo.Sum", [1], timeout_s=WAIT_S))
            except RpcError as exc:
                found.put(exc)

        when, waits = router.when, threading.Event()

        class Waited(type(router)):  # type: ignore[misc]
            __slots__ = ()

            def when(self, news: threading.Event, waiter: Any) -> None:
                when(news, waiter)
                if news is self.confirmed:
                    waits.set()

        router.__class__ = Waited
        thread = threading.Thread(target=caller)
        thread.start()
        assert waits.wait(WAIT_S)
        router.update(EndpointSet(tuple(map(parse_endpoint, foos)), remembered=True))
        assert found.get(timeout=WAIT_S) == dict.fromkeys(foos, 1)
        thread.join()


def test_an_interrupt_ends_the_calls(foos: dict[str, Foo], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while it waits: nobody has a use for what is still asked."""

    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            wait_until(lambda: all(foo.calls for foo in foos.values()))
            raise KeyboardInterrupt

    calls: list[FutureInvocation] = []

    class Noted(FutureInvocation):
        def start(self) -> CallFuture:
            calls.append(self)
            return super().start()

    for foo in foos.values():
        foo.waits = True
    with RpcClient(target_of(foos)) as client:
        client.new_future = Noted
        told = SimpleNamespace(Event=Interrupted, Lock=threading.Lock)
        monkeypatch.setattr(broadcast_module, "threading", told)
        with pytest.raises(KeyboardInterrupt):
            client.broadcast("Foo.Sum", [1], timeout_s=WAIT_S)
        assert len(calls) == len(foos)
        for call in calls:
            error = call.exception(WAIT_S / 2)
            assert isinstance(error, RpcError)
            assert error.code is StatusCode.CANCELLED


def test_wrong_use_is_told(foos: dict[str, Foo]) -> None:
    with RpcClient(target_of(foos)) as client:
        for wrong, told in (
            ({"mode": "some"}, "'first_error', 'all'"),
            ({"timeout_s": "soon"}, "timeout_s is of type str"),
            ({"timeout_s": 1e12}, "a finite time"),
        ):
            with pytest.raises(Misuse, match=told):
                client.broadcast("Foo.Sum", [1], **wrong)  # type: ignore[arg-type]

        class Inliner:
            """Calls from a loop."""

            @inline
            def go(self) -> str:
                try:
                    client.broadcast("Foo.Sum", [1])
                except Misuse as exc:
                    return str(exc)
                return ""

        with RpcServer("127.0.0.1:0") as server:
            server.add_object(Inliner(), name="Inliner")
            with RpcClient(server.address) as other:
                assert "would stop the loop" in other.call("Inliner.go")


def test_nobody_there_is_an_empty_success(tmp_path: Path) -> None:
    listed = tmp_path / "servers"
    listed.write_text("# nobody\n")
    with RpcClient(f"file://{listed}", state_dir=str(tmp_path)) as client:
        assert client.broadcast("Foo.Sum", [1], timeout_s=WAIT_S) == {}


def test_not_knowing_who_is_there_is_a_failure(tmp_path: Path) -> None:
    with (
        RpcClient(f"center://127.0.0.1:{free_port()}", state_dir=str(tmp_path)) as client,
        pytest.raises(RpcError, match="no center answers") as caught,
    ):
        client.broadcast("Foo.Sum", [1], timeout_s=0.3)
    assert caught.value.code is StatusCode.UNAVAILABLE


def test_a_broadcast_whose_time_is_over_waits_for_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[threading.Event] = []

    class Told(threading.Event):
        def set(self) -> None:
            woken.append(self)
            super().set()

    told = SimpleNamespace(Event=Told, Lock=threading.Lock)
    target = f"center://127.0.0.1:{free_port()}"
    with RpcClient(target, state_dir=str(tmp_path)) as client:
        router, _ = client.route("Foo")
        monkeypatch.setattr(broadcast_module, "threading", told)
        with pytest.raises(RpcError):
            client.broadcast("Foo.Sum", [1], timeout_s=0.01)
        router.update(EndpointSet((parse_endpoint("127.0.0.1:1"),)))
    assert not woken  # neither by the news nor by the end
