"""`libevrpc bench`: counts, percentiles, failures."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from libevrpc import CallFuture, RpcError, StatusCode
from libevrpc.cli.bench import Caller, Latencies
from libevrpc.cli.request import BoundCall

pytestmark = pytest.mark.live

HI = '{"request": "hi"}'


def test_every_call_asked_for_is_made(run: Any, serving: Any) -> None:
    words = ("bench", serving.address, "EchoService/Echo", "-d", HI, "--json")
    figures = run(*words, "-n", "50").json
    assert (figures["calls"], figures["failed"], figures["callers"]) == (50, 0, 1)
    assert len(serving.handler.calls) == 51  # and the one that connects
    latencies = figures["latency_us"]
    assert 0 < latencies["p50"] <= latencies["p99"] <= latencies["max"]
    shared = run(*words, "-n", "101", "-c", "8", "--connections", "2").json
    assert (shared["calls"], shared["connections"]) == (101, 2)
    assert len(serving.handler.calls) == 51 + 101 + 2


def test_a_plain_object_is_loaded_for_a_while(run: Any, serving: Any) -> None:
    done = run("bench", serving.address, "Foo.Sum", "-d", "[1, 2]", "-z", "0.2", "-c", "4")
    assert done.status == 0
    took = re.search(r" 0 failed, in (\d+\.\d\d) s: ", done.out)
    assert took is not None, done.out
    assert float(took[1]) >= 0.2  # how much longer is the machine's affair
    assert "p999" in done.out


def test_failed_calls_are_counted_by_their_error(run: Any, serving: Any) -> None:
    class Fickle:
        def __init__(self) -> None:
            self.calls = 0

        def flip(self) -> None:
            self.calls += 1
            if self.calls % 2 == 0:
                raise ValueError("even")

    serving.server.add_object(Fickle())
    for callers in ("1", "3"):
        words = ("-n", "10", "-c", callers, "--connections", "1", "--json")
        done = run("bench", serving.address, "Fickle.flip", *words)
        assert done.status == 1
        assert 0 < done.json["failed"] < 10
        assert list(done.json["errors"]) == ["UNKNOWN (2001): ValueError: even"]
        serving.server.remove_service("Fickle")
        serving.server.add_object(Fickle())


class Refused(CallFuture):
    """A call that failed before it was sent."""

    def done(self) -> bool:
        return True

    def exception(self, timeout_s: float | None = None) -> RpcError:
        return RpcError(StatusCode.RESOURCE_EXHAUSTED, "full")


def test_calls_that_fail_at_once_do_not_nest() -> None:
    bound = BoundCall(lambda **_: None, lambda **_: Refused())
    caller = Caller(bound, None, 3000, math.inf)
    caller.begin()
    assert caller.done.is_set()
    assert caller.errors.total() == 3000
    assert caller.latencies.count == 0


def test_a_first_call_that_fails_ends_the_measurement(run: Any, serving: Any) -> None:
    done = run("bench", serving.address, "EchoService/Echo", "-d", '{"request": "raise"}')
    assert (done.status, done.err) == (1, "libevrpc: UNKNOWN (2001): ValueError: as asked")


def test_quantiles_are_right_within_a_percent() -> None:
    latencies = Latencies()
    assert latencies.quantile_s(0.5) == 0.0
    other = Latencies()
    for number in range(1, 1001):
        (latencies if number % 2 else other).add(number / 1000.0)
    latencies.merge(other)
    assert latencies.count == 1000
    assert latencies.quantile_s(0.5) == pytest.approx(0.5, rel=0.011)
    assert latencies.quantile_s(0.99) == pytest.approx(0.99, rel=0.011)
    assert latencies.quantile_s(1.0) == 1.0
    tiny = Latencies()
    tiny.add(0.0)
    assert tiny.quantile_s(0.5) == 0.0
