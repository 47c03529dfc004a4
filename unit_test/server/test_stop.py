"""How a server ends: drained, hurried, by signals, by its own handlers, one after the other."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from libevrpc import RpcClient, RpcError, RpcServer, UsageError
from libevrpc.clock import monotonic_s
from libevrpc.server import server as server_module
from libevrpc.server.calls import ServerCall
from libevrpc.server.guest_calls import GuestSide
from libevrpc.server.session import Session
from unit_test.fix_net import free_ports
from unit_test.fix_rpc import ECHO, WAIT_S, Serving, body, request, wait_until

pytestmark = pytest.mark.live
NAME = "echo.EchoService.Echo"


def test_stop_lets_calls_finish_and_refuses_new_ones(serve: Callable[..., Serving]) -> None:
    serving = serve()
    raw = serving.raw()
    raw.call(NAME, body("hold"), 1)
    assert serving.handler.entered.wait(WAIT_S)
    stopper = threading.Thread(target=serving.server.stop)
    stopper.start()

    def refused() -> bool:
        raw.call(NAME, body("new"), 2)
        return raw.reply().error_code == 2003

    wait_until(refused)
    serving.handler.release.set()
    assert raw.reply().correlation_id == 1
    assert serving.server.wait(WAIT_S)
    stopper.join(WAIT_S)
    assert raw.closed()


def test_two_threads_may_stop_a_server_and_both_wait(serve: Callable[..., Serving]) -> None:
    serving = serve()
    future = serving.echo().future(request("hold"))
    assert serving.handler.entered.wait(WAIT_S)
    stoppers = [threading.Thread(target=serving.server.stop) for _ in range(2)]
    for stopper in stoppers:
        stopper.start()
    wait_until(lambda: any(shard.stopping for shard in serving.server._shards))  # noqa: SLF001
    assert not serving.server.wait(0.05)
    assert all(stopper.is_alive() for stopper in stoppers)
    serving.handler.release.set()
    assert future.result(WAIT_S).response == "hold"
    for stopper in stoppers:
        stopper.join(WAIT_S)
        assert not stopper.is_alive()
    assert serving.server.wait(0.0)


def test_a_reply_on_its_way_to_the_loop_is_waited_for(
    serve: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another wire than PRPC: its call is over, its bytes are not written yet."""
    answered, goes_on = threading.Event(), threading.Event()

    def note(self: GuestSide, encoded: object) -> None:
        answered.set()
        goes_on.wait(WAIT_S)

    monkeypatch.setattr(GuestSide, "_note", note)
    serving = serve()
    future = serving.echo(wire="mprpc").future(request("x"))
    assert answered.wait(WAIT_S)
    stopper = threading.Thread(target=serving.server.stop)
    stopper.start()
    wait_until(lambda: any(shard.stopping for shard in serving.server._shards))  # noqa: SLF001
    assert not serving.server.wait(0.3)
    goes_on.set()
    assert future.result(WAIT_S).response == "x"
    stopper.join(WAIT_S)
    assert serving.server.wait(0.0)


@pytest.mark.parametrize(
    ("method", "said", "errno"),
    [("Foo.add", b"[1, 2]", 0), (NAME, body("x"), 0), (NAME, body("raise"), 2001)],
    ids=["result", "result with a controller", "error"],
)
def test_a_reply_is_waited_for_until_it_is_written(
    serve: Callable[..., Serving],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    said: bytes,
    errno: int,
) -> None:
    """Its call is answered, so nothing else can be; the connection must not close before it."""
    answered, goes_on = threading.Event(), threading.Event()
    looks: list[bool] = []
    write, idle = Session._write, Session.idle  # noqa: SLF001

    def write_later(self: Session, call: ServerCall, frame: bytes) -> None:
        answered.set()
        goes_on.wait(WAIT_S)
        write(self, call, frame)

    def idle_seen(self: Session, but: ServerCall | None = None) -> bool:
        looks.append(idle(self, but))
        return looks[-1]

    monkeypatch.setattr(Session, "_write", write_later)
    monkeypatch.setattr(Session, "idle", idle_seen)
    serving = serve()
    raw = serving.raw()
    raw.call(method, said, 1, content_type=0 if method == NAME else 1)
    assert answered.wait(WAIT_S)
    stopper = threading.Thread(target=serving.server.stop)
    stopper.start()
    wait_until(lambda: len(looks) >= 3)
    goes_on.set()
    reply = raw.reply()
    assert (reply.correlation_id, reply.error_code) == (1, errno)
    stopper.join(WAIT_S)
    assert serving.server.wait(0.0)
    assert not any(looks[:3])


def test_handlers_may_stop_their_server_but_no_loop_can() -> None:
    server = RpcServer("127.0.0.1:0", threads=1)
    outcomes: list[str] = []

    class Ender:
        """Stops the server it is served by."""

        def end(self) -> None:
            server.stop(0.0)

        def end_inline(self) -> None:
            try:
                server.stop(0.0)
            except UsageError as exc:
                outcomes.append(str(exc))

    server.add_object(Ender(), inline=["end_inline"])
    server.start()
    with RpcClient(server.address, retries_max=0) as client:
        client.call("Ender.end_inline")
        assert outcomes == ["stop() waits for the loops: call it on another thread"]
        client.oneway("Ender.end")
        assert server.wait(WAIT_S)
    server.stop()


def test_handler_that_stops_its_server_waits_for_all_calls_but_its_own() -> None:
    entered, release = threading.Event(), threading.Event()
    outcomes: list[object] = []
    server = RpcServer("127.0.0.1:0", drain_s=60.0)

    class Ender:
        """Stops the server it is served by."""

        def end(self) -> None:
            server.stop()

        def hold(self) -> str:
            entered.set()
            release.wait(WAIT_S)
            outcomes.append(server.wait(0.0))
            return "held"

    server.add_object(Ender())
    server.start()
    with RpcClient(server.address, retries_max=0, timeout_s=60.0) as client:
        future = client.future("Ender.hold")
        assert entered.wait(WAIT_S)
        ending = client.future("Ender.end")
        wait_until(lambda: any(shard.stopping for shard in server._shards))  # noqa: SLF001
        release.set()
        assert future.result(WAIT_S) == "held"
        assert server.wait(WAIT_S)
        assert isinstance(ending.exception(WAIT_S), RpcError)
    assert outcomes == [False]
    server.stop()


@pytest.mark.alone  # it has a bound in time
def test_stuck_handlers_hold_up_a_stop_once_not_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_JOIN_S", 0.4)
    serving = Serving(workers=8)
    echo = serving.echo(retries_max=0)
    futures = [echo.future(request("hold")) for _ in range(8)]
    wait_until(lambda: len(serving.handler.calls) == 8)
    started_s = monotonic_s()
    serving.server.stop(0.0)
    assert monotonic_s() - started_s < 4 * 0.4
    assert all(isinstance(future.exception(WAIT_S), RpcError) for future in futures)
    serving.close()


def test_worker_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, serving: Serving
) -> None:
    start = threading.Thread.start
    faults = [1, 2]

    def scarce(thread: threading.Thread) -> None:
        if faults and thread.name.startswith("libevrpc-work"):
            faults.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    assert serving.client().call("Foo.Sum", 1, 2) == 3
    assert "worker 0 cannot be started" in caplog.text
    assert serving.server.statistics().worker_threads >= 1  # it counts what was started


def test_stop_cancels_what_outlasts_the_drain(serve: Callable[..., Serving]) -> None:
    serving = serve()
    raw = serving.raw()
    raw.call(NAME, body("until cancelled"), 1)
    assert serving.handler.entered.wait(WAIT_S)
    serving.server.stop(0.05)
    assert serving.handler.cancelled.wait(WAIT_S)


@pytest.mark.parametrize("kind", ["waiting", "futures"])
def test_rolling_restart_loses_no_call(serve: Callable[..., Serving], kind: str) -> None:
    one, two, three = (f"127.0.0.1:{port}" for port in free_ports(3))  # given to nobody else
    servings = [serve(listen=one), serve(listen=two), serve(inline=True, listen=three)]
    client = servings[0].client("list://" + ",".join(each.address for each in servings))
    echo = client.stub(ECHO).Echo
    ended = threading.Event()
    counts = [0] * 4
    failures: list[BaseException] = []

    def load(worker: int) -> None:
        text = str(worker)
        while not ended.is_set():
            try:
                if kind == "waiting":
                    assert echo(request(text), idempotent=False).response == text
                    counts[worker] += 1
                    continue
                futures = [echo.future(request(text), idempotent=False) for _ in range(8)]
                for future in futures:
                    assert future.result(WAIT_S).response == text
                    counts[worker] += 1
            except RpcError as exc:
                failures.append(exc)

    def more_calls() -> None:
        before = sum(counts)
        wait_until(lambda: sum(counts) > before + 200)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    again: list[RpcServer] = []
    for serving in servings:
        more_calls()
        serving.server.stop()
        again.append(RpcServer(serving.address))
        again[-1].add_service(serving.handler, ECHO)
        again[-1].start()
        wait_until(lambda: again[-1].statistics().calls)
    ended.set()
    for thread in threads:
        thread.join(WAIT_S)
    for server in again:
        server.stop()
    assert failures == []


PROGRAM = """
import signal, threading
from libevrpc import RpcServer
class Slow:
    def work(self, seconds):
        threading.Event().wait(seconds)
        return "done"
server = RpcServer("127.0.0.1:0", drain_s=30)
server.add_object(Slow())
server.start()
before = signal.getsignal(signal.SIGTERM)
def ready():
    while signal.getsignal(signal.SIGTERM) is before:  # run() has not come so far
        threading.Event().wait(0.01)
    print("listening on", server.address, flush=True)
threading.Thread(target=ready).start()
server.run()
print("stopped", flush=True)
"""


@pytest.mark.parametrize("signals", [1, 2])
def test_sigterm_drains_and_a_second_one_hurries(signals: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        with RpcClient(address, retries_max=0) as client:
            assert client.call("Slow.work", 0) == "done"
            seconds = 0.3 if signals == 1 else 20
            future = client.future("Slow.work", seconds, timeout_s=30)
            client.call("Slow.work", 0)
            process.send_signal(signal.SIGTERM)

            def refused() -> bool:
                try:
                    client.call("Slow.work", 0, timeout_s=WAIT_S)
                except RpcError:
                    return True
                return False

            wait_until(refused)
            if signals == 2:
                process.send_signal(signal.SIGTERM)
                assert isinstance(future.exception(WAIT_S), RpcError)
            else:
                assert future.result(WAIT_S) == "done"
        assert process.stdout.readline() == "stopped\n"
        assert process.wait(WAIT_S) == 0
