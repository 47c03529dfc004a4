"""A server's limit, obeyed by real calls."""

from __future__ import annotations

import queue
import signal
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest

from libevrpc import RpcClient, RpcError, RpcServer, StatusCode

pytestmark = pytest.mark.live
WAIT_S = 10.0


class Gate:
    """Calls that stay in flight until the test lets them go."""

    def __init__(self, name: str, entered: queue.SimpleQueue[str], go: threading.Event) -> None:
        self._name = name
        self._entered = entered
        self._go = go

    def enter(self) -> str:
        self._entered.put(self._name)
        self._go.wait()
        return self._name


@pytest.mark.parametrize("servers", [1, 2])
def test_no_server_gets_more_calls_than_it_allows(servers: int, tmp_path: Path) -> None:
    entered: queue.SimpleQueue[str] = queue.SimpleQueue()
    go = threading.Event()
    started = []
    for number in range(servers):
        server = RpcServer("127.0.0.1:0", threads=1)
        server.add_object(Gate(str(number), entered, go), "Gate")
        server.start()
        started.append(server)
    listed = tmp_path / "servers"
    listed.write_text("".join(f"{server.address};limit=2\n" for server in started))
    with RpcClient(f"file://{listed}", state_dir=str(tmp_path)) as client:
        calls = [client.future("Gate.enter") for _ in range(2 * servers)]
        names = sorted(entered.get(timeout=WAIT_S) for _ in calls)
        assert names == sorted(2 * [str(number) for number in range(servers)])
        with pytest.raises(RpcError, match="as many calls of this client as they allow") as caught:
            client.call("Gate.enter")
        assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(RpcError, match="as many calls"):
            client.future("Gate.enter").result(WAIT_S)
        go.set()
        wait(calls, WAIT_S)
        assert client.call("Gate.enter") in names  # places are free again
    for server in started:
        server.stop(0.0)


def test_a_call_that_ctrl_c_ended_gives_its_place_back(tmp_path: Path) -> None:
    class Signal:
        """A handler that has its caller interrupted, then waits."""

        def enter(self) -> None:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
            go.wait()

        def answer(self) -> int:
            return 7

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    go = threading.Event()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with RpcServer("127.0.0.1:0", threads=1) as server:
            server.add_object(Signal())
            listed = tmp_path / "servers"
            listed.write_text(f"{server.address};limit=1\n")
            with RpcClient(f"file://{listed}", state_dir=str(tmp_path)) as client:
                for _ in range(3):
                    with pytest.raises(KeyboardInterrupt):
                        client.call("Signal.enter")
                    assert client.call("Signal.answer") == 7
            go.set()
            server.stop(0.0)
    finally:
        signal.signal(signal.SIGALRM, before)
