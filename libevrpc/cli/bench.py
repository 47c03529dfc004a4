"""`libevrpc bench`: a closed loop of one call; rate and percentiles."""

from __future__ import annotations

import argparse
import math
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from typing import Any

from libevrpc import CallFuture, RpcClient
from libevrpc.cli.arguments import add_call_arguments, at_service, positive_count, seconds
from libevrpc.cli.output import ExitStatus, print_json
from libevrpc.cli.request import BoundCall, prepare
from libevrpc.client.method import split_method
from libevrpc.clock import monotonic_s
from libevrpc.errors import EvrpcError, RpcError, UsageError

__all__ = ["Latencies", "add_arguments", "run"]

SPAN_S = 5.0
"""How long to measure when neither -n nor -z is given."""
CALLERS_MAX = 10_000
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_call_arguments(parser)
    parser.add_argument(
        "-c",
        "--callers",
        type=positive_count,
        default=1,
        metavar="N",
        help="callers, each with one call at a time (1)",
    )
    parser.add_argument(
        "--connections",
        type=positive_count,
        metavar="N",
        help="connections that the callers share (one each)",
    )
    span = parser.add_mutually_exclusive_group()
    span.add_argument("-n", "--calls", type=positive_count, metavar="N", help="calls in all")
    span.add_argument(
        "-z", "--duration", type=seconds, metavar="S", help=f"how long, seconds ({SPAN_S:g})"
    )


def run(given: argparse.Namespace) -> ExitStatus:
    """Measure and print; FAILED if a call failed.

    Raises:
        EvrpcError: the first call failed, before anything was measured.
    """
    connections = given.callers if given.connections is None else given.connections
    if given.callers > CALLERS_MAX or connections > given.callers:
        raise UsageError(
            f"-c {given.callers} --connections {connections}: at most {CALLERS_MAX} callers, and"
            " no more connections than callers"
        )
    service, _ = split_method(given.method)
    target = at_service(given.target, service)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                RpcClient(target, timeout_s=given.timeout, token_file=given.token_file)
            )
            for _ in range(connections)
        ]
        prepared = prepare(clients[0], given)
        bound = [prepared.bind(client) for client in clients]
        for each in bound:  # connects
            each.wait(timeout_s=given.timeout)
        callers = _callers(bound, given)
        interrupted, span_s = _measure(callers)
    figures = _figures(callers, span_s, connections)
    if given.json:
        print_json(figures)
    else:
        _show(figures)
    if interrupted:
        return ExitStatus.INTERRUPTED
    return ExitStatus.FAILED if figures["failed"] else ExitStatus.OK


class Latencies:
    """A histogram whose buckets are 1 % wide: bounded, however many calls. One thread."""

    _GROWTH = math.log(1.01)
    _FLOOR_S = 1e-6

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.sum_s = 0.0
        self.max_s = 0.0

    def add(self, latency_s: float) -> None:
        """Count one."""
        self.count += 1
        self.sum_s += latency_s
        self.max_s = max(self.max_s, latency_s)
        ratio = max(latency_s, self._FLOOR_S) / self._FLOOR_S
        self._buckets[int(math.log(ratio) / self._GROWTH)] += 1

    def merge(self, other: Latencies) -> None:
        """Count all of another's."""
        self._buckets.update(other._buckets)
        self.count += other.count
        self.sum_s += other.sum_s
        self.max_s = max(self.max_s, other.max_s)

    def quantile_s(self, share: float) -> float:
        """Return the latency that `share` of the calls did not exceed; 0 without calls."""
        wanted = share * self.count
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                upper_s = self._FLOOR_S * math.exp((bucket + 1) * self._GROWTH)
                return min(upper_s, self.max_s)
        return self.max_s


class Caller:
    """Calls one after the other, each started by the end of the one before.

    Its counters belong to whichever thread ends its call of the moment.
    """

    def __init__(
        self,
        bound: BoundCall,
        timeout_s: float | None,
        calls_max: float,
        until_s: float,
    ) -> None:
        self._bound = bound
        self._timeout_s = timeout_s
        self._calls_max = calls_max
        self._until_s = until_s
        self._before_s = 0.0
        self._calls = 0
        self.latencies = Latencies()
        self.errors: Counter[str] = Counter()
        self.stopping = False
        self.done = threading.Event()

    def run(self) -> None:
        """Call in this thread until it is enough."""
        while self._more():
            error = None
            try:
                self._bound.wait(timeout_s=self._timeout_s)
            except RpcError as exc:
                error = exc
            self._count(error)
        self.done.set()

    def begin(self) -> None:
        """Start calls; each goes on when the one before ends. The first time any thread."""
        while self._more():
            future = self._bound.start(timeout_s=self._timeout_s)
            if not future.done():
                future.add_done_callback(self._ended)
                return
            self._count(future.exception())
        self.done.set()

    def _ended(self, future: CallFuture) -> None:
        self._count(future.exception())
        self.begin()

    def _more(self) -> bool:
        self._before_s = monotonic_s()
        self._calls += 1
        return (
            not self.stopping and self._calls <= self._calls_max and self._before_s < self._until_s
        )

    def _count(self, error: EvrpcError | None) -> None:
        if error is None:
            self.latencies.add(monotonic_s() - self._before_s)
        elif not self.stopping:  # what an interrupt cuts short has not failed
            self.errors[str(error)] += 1


def _callers(bound: list[BoundCall], given: argparse.Namespace) -> list[Caller]:
    """Make the callers; -n is dealt out among them."""
    until_s = math.inf
    if given.calls is None:
        until_s = monotonic_s() + (given.duration or SPAN_S)
    callers = []
    for number in range(given.callers):
        share = math.inf
        if given.calls is not None:
            share = given.calls // given.callers + (number < given.calls % given.callers)
        callers.append(Caller(bound[number % len(bound)], given.timeout, share, until_s))
    return callers


def _measure(callers: list[Caller]) -> tuple[bool, float]:
    """Let them all call; returns whether that was interrupted, and how long it took."""
    began_s = monotonic_s()
    try:
        if len(callers) == 1:
            callers[0].run()
        else:
            for caller in callers:
                caller.begin()
        for caller in callers:
            caller.done.wait()
    except KeyboardInterrupt:
        for caller in callers:
            caller.stopping = True
        print("interrupted", file=sys.stderr)
        return True, monotonic_s() - began_s
    return False, monotonic_s() - began_s


def _figures(callers: list[Caller], span_s: float, connections: int) -> dict[str, Any]:
    total = Latencies()
    errors: Counter[str] = Counter()
    for caller in callers:
        total.merge(caller.latencies)
        errors.update(caller.errors)
    latencies = {name: _us(total.quantile_s(share)) for name, share in QUANTILES.items()}
    return {
        "calls": total.count + errors.total(),
        "failed": errors.total(),
        "seconds": round(span_s, 3),
        "calls_per_s": round(total.count / span_s, 1),
        "callers": len(callers),
        "connections": connections,
        "latency_us": {
            "mean": _us(total.sum_s / total.count) if total.count else 0,
            **latencies,
            "max": _us(total.max_s),
        },
        "errors": dict(errors.most_common(10)),
    }


def _us(span_s: float) -> int:
    return round(span_s * 1e6)


def _show(figures: dict[str, Any]) -> None:
    print(
        f"{figures['calls']} calls, {figures['failed']} failed, in {figures['seconds']:.2f} s:"
        f" {figures['calls_per_s']:.0f} a second"
        f" ({figures['callers']} callers, {figures['connections']} connections)"
    )
    for name, value in figures["latency_us"].items():
        print(f"  {name:<5} {value:>9} us")
    for text, count in figures["errors"].items():
        print(f"  {count} x {text}")
