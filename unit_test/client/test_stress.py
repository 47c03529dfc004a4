"""Many threads on one client while connections break, loops stall and servers stop.

No reply is lost, doubled or given to another call; no thread or descriptor is left.

`LIBEVRPC_TEST_STRESS_S` says for how long; the usual run is short.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from libevrpc import CallFuture, RpcClient, RpcError, RpcServer
from unit_test.fix_net import free_ports
from unit_test.fix_rpc import ECHO, WAIT_S, echo_pb2, request, wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]
SECONDS = float(os.environ.get("LIBEVRPC_TEST_STRESS_S", "10"))
CALLERS = 16


@pytest.fixture
def busy_interpreter() -> Iterator[None]:
    """Switch threads as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Flaky:
    """Echoes, sometimes late."""

    def __init__(self) -> None:
        self.pause = threading.Event()

    def echo(self, message: Any) -> Any:
        if message.request.endswith("7"):
            self.pause.wait(0.002)
        return echo_pb2.EchoResponse(response=message.request)


def serve(inline: bool, listen: str) -> RpcServer:
    server = RpcServer(listen, threads=4)
    server.add_service(Flaky(), ECHO, inline=inline)
    server.start()
    return server


class Storm:
    """Callers, and somebody who cuts connections, stalls loops and restarts servers."""

    def __init__(self, client: RpcClient, ports: list[int]) -> None:
        self.tallies: list[Counter[str]] = []
        self.faults: Counter[str] = Counter()
        self.until_s = monotonic() + SECONDS
        self.servers = [serve(i > 0, f"127.0.0.1:{port}") for i, port in enumerate(ports)]
        self.stopped: list[RpcServer] = []
        self._echo = client.stub(ECHO).Echo
        self._pause = threading.Event()

    def call(self, name: int) -> None:
        """Mix waiting calls, futures, cancels and deadlines; check every answer."""
        rng = random.Random(name)
        number = 0
        counts: Counter[str] = Counter()
        told: list[CallFuture] = []
        while monotonic() < self.until_s:
            number += 1
            text = f"{name}.{number}"
            kind = rng.random()
            try:
                if kind < 0.7:
                    answer = self._echo(request(text), idempotent=True, timeout_s=WAIT_S)
                elif kind < 0.95:
                    future: CallFuture = self._echo.future(request(text), idempotent=True)
                    counts["futures"] += 1
                    future.add_done_callback(told.append)
                    if kind > 0.93:
                        future.cancel()
                    answer = future.result(WAIT_S)
                else:
                    answer = self._echo(request(text), timeout_s=0.001)
                counts["ok" if answer.response == text else "mixed up"] += 1
            except RpcError as exc:
                counts[exc.code.name] += 1
            except TimeoutError:
                counts["lost"] += 1
        counts["calls"] = number
        wait_until(lambda: len(told) >= counts["futures"])
        counts["told"] = len(told)
        self.tallies.append(counts)  # adding up here would race with the other callers

    def disturb(self) -> None:
        """Do one harm after the other, at random."""
        rng = random.Random(0)
        while monotonic() < self.until_s:
            self._pause.wait(rng.uniform(0.005, 0.05))
            harm = rng.choices((self._cut, self._stall, self._restart), (80, 15, 5))[0]
            harm(rng)
            self.faults[harm.__name__] += 1

    def _cut(self, rng: random.Random) -> None:
        """Close connections from the server's side."""
        for shard in rng.choice(self.servers)._shards:  # noqa: SLF001 - as a network would
            for session in list(shard.sessions):
                if rng.random() < 0.5:
                    session.close("cut by the test")

    def _stall(self, rng: random.Random) -> None:
        """Hold a loop up, as a handler that blocks would."""
        shard = rng.choice(rng.choice(self.servers)._shards)  # noqa: SLF001
        shard.loop.post(lambda: self._pause.wait(0.1))

    def _restart(self, rng: random.Random) -> None:
        """Stop a server, gently or at once, and start another in its place."""
        number = rng.randrange(len(self.servers))
        server = self.servers[number]
        server.stop(rng.choice((0.0, 0.2)))
        self.stopped.append(server)
        self.servers[number] = serve(bool(number), server.address)


@pytest.mark.usefixtures("busy_interpreter")
def test_no_reply_is_lost_doubled_or_given_to_another_call() -> None:
    ports = free_ports(2)
    target = "list://" + ",".join(f"127.0.0.1:{port}" for port in ports)
    with RpcClient(target, retries_max=20, retry_budget_percent=100.0) as client:
        storm = Storm(client, ports)
        threads = [threading.Thread(target=storm.call, args=(n,)) for n in range(CALLERS)]
        threads.append(threading.Thread(target=storm.disturb))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS + 60)
        assert not any(thread.is_alive() for thread in threads)
    for server in storm.servers:
        server.stop(1.0)
    for server in (*storm.servers, *storm.stopped):
        assert server.statistics().in_flight == 0
    counts = sum(storm.tallies, Counter[str]())
    print(f"{SECONDS:g} s: {dict(counts)} {dict(storm.faults)}")  # noqa: T201
    assert counts["mixed up"] == 0
    assert counts["lost"] == 0
    assert counts["ok"] > 100
    assert counts["told"] == counts["futures"]
    ends = {"ok", "CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE"}
    assert sum(counts[each] for each in ends) == counts["calls"]
