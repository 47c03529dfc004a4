"""Many threads on one client while connections break: no reply is lost, doubled or mixed up.

`LIBEVRPC_STRESS_S` says for how long; the usual run is short.
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
from unit_test.fix_rpc import ECHO, WAIT_S, echo_pb2, request

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]
SECONDS = float(os.environ.get("LIBEVRPC_STRESS_S", "4"))
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


class Storm:
    """Callers, and somebody who cuts connections under them."""

    def __init__(self, client: RpcClient, servers: list[RpcServer]) -> None:
        self.counts: Counter[str] = Counter()
        self.until_s = monotonic() + SECONDS
        self._echo = client.stub(ECHO).Echo
        self._servers = servers

    def call(self, name: int) -> None:
        """Mix waiting calls, futures, cancels and deadlines; check every answer."""
        rng = random.Random(name)
        number = 0
        counts: Counter[str] = Counter()
        while monotonic() < self.until_s:
            number += 1
            text = f"{name}.{number}"
            kind = rng.random()
            try:
                if kind < 0.7:
                    answer = self._echo(request(text), idempotent=True, timeout_s=WAIT_S)
                elif kind < 0.95:
                    future: CallFuture = self._echo.future(request(text), idempotent=True)
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
        self.counts.update(counts)

    def cut(self) -> None:
        """Close random connections from the server's side."""
        rng = random.Random(0)
        pause = threading.Event()
        while monotonic() < self.until_s:
            pause.wait(rng.uniform(0.005, 0.05))
            for shard in rng.choice(self._servers)._shards:  # noqa: SLF001 - as a network would
                for session in list(shard.sessions):
                    if rng.random() < 0.5:
                        session.close("cut by the test")


@pytest.mark.usefixtures("busy_interpreter")
def test_no_reply_is_lost_doubled_or_given_to_another_call() -> None:
    servers = []
    for inline in (False, True):
        server = RpcServer("127.0.0.1:0", threads=4)
        server.add_service(Flaky(), ECHO, inline=inline)
        server.start()
        servers.append(server)
    target = "list://" + ",".join(server.address for server in servers)
    with RpcClient(target, retries_max=20, retry_budget_percent=100.0) as client:
        storm = Storm(client, servers)
        threads = [threading.Thread(target=storm.call, args=(n,)) for n in range(CALLERS)]
        threads.append(threading.Thread(target=storm.cut))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS + 60)
        assert not any(thread.is_alive() for thread in threads)
    for server in servers:
        server.stop(1.0)
        figures = server.statistics()
        assert figures.in_flight == 0
    assert storm.counts["mixed up"] == 0
    assert storm.counts["lost"] == 0
    assert storm.counts["ok"] > 100
    known = {"ok", "CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE"}
    assert set(storm.counts) <= known, storm.counts
