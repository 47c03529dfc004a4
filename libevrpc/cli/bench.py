"""`libevrpc bench`: load one method with calls that follow each other, and measure."""

from __future__ import annotations

import argparse
import threading
import time
from typing import Any

from google.protobuf import json_format

from libevrpc.cli.output import FAILED, OK, print_json
from libevrpc.cli.schema import ask_schema, compile_schema, read_body
from libevrpc.client.client import RpcClient
from libevrpc.client.future import CallFuture
from libevrpc.client.method import split_method
from libevrpc.client.stub import StubMethod
from libevrpc.core.protobufs import message_class
from libevrpc.errors import ConfigError

__all__ = ["bench"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Load:
    """A closed loop: as many calls in flight as there are callers, for a while."""

    def __init__(self, method: StubMethod, request: Any, seconds: float) -> None:
        self._method = method
        self._request = request
        self._until_s = time.perf_counter() + seconds
        self.latencies_s: list[float] = []
        self.errors: dict[str, int] = {}
        self.done = threading.Semaphore(0)

    def begin(self) -> None:
        """Start one caller's next call."""
        before_s = time.perf_counter()
        self._method.future(self._request).add_done_callback(
            lambda future: self._ended(future, before_s)
        )

    def _ended(self, future: CallFuture, before_s: float) -> None:
        now_s = time.perf_counter()
        error = future.exception()
        if error is None:
            self.latencies_s.append(now_s - before_s)
        else:
            self.errors[str(error)] = self.errors.get(str(error), 0) + 1
        if now_s < self._until_s:
            self.begin()
        else:
            self.done.release()


def bench(arguments: argparse.Namespace) -> int:
    """Measure calls per second and latencies of one protobuf method."""
    service, method = split_method(arguments.method)
    with RpcClient(arguments.target, timeout_s=arguments.timeout) as client:
        if arguments.proto:
            schema = compile_schema(arguments.proto)
        else:
            schema = ask_schema(client, arguments.timeout)
        descriptor = schema.find(service, method)
        if descriptor is None:
            raise ConfigError(f"{arguments.method}: bench loads protobuf methods only")
        request = message_class(descriptor.input_type)()
        try:
            json_format.Parse(read_body(arguments.data), request)
        except json_format.ParseError as exc:
            name = descriptor.input_type.full_name
            raise ConfigError(f"-d: not a {name} in JSON: {exc}") from None
        load = Load(StubMethod(client, descriptor), request, arguments.seconds)
        began_s = time.perf_counter()
        for _ in range(arguments.callers):
            load.begin()
        for _ in range(arguments.callers):
            load.done.acquire()
        span_s = time.perf_counter() - began_s
    return report(load, span_s, arguments.json)


def report(load: Load, span_s: float, as_json: bool) -> int:
    """Print the figures; the status says whether every call succeeded."""
    latencies = sorted(load.latencies_s)
    failed = sum(load.errors.values())
    figures: dict[str, Any] = {
        "calls": len(latencies),
        "failed": failed,
        "seconds": round(span_s, 3),
        "calls_per_s": round(len(latencies) / span_s, 1),
    }
    for percentile in PERCENTILES:
        if latencies:
            position = min(len(latencies) - 1, int(len(latencies) * percentile / 100.0))
            figures[f"p{percentile:g}_us"] = round(latencies[position] * 1e6, 1)
    if as_json:
        print_json({**figures, "errors": load.errors})
    else:
        for name, value in figures.items():
            print(f"{name:<12} {value:>12}")
        for text, count in load.errors.items():
            print(f"{count:>12} x {text}")
    return FAILED if failed else OK
