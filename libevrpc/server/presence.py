"""A server's presence at its registry: what it announces, and how busy it says it is."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Iterator, Mapping

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import parse_endpoint
from libevrpc.core.targets import Target, parse_target
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Announcement, LoadSample
from libevrpc.registry.opening import open_registrar
from libevrpc.server.internal import Offer
from libevrpc.server.statistics import ServerStatistics
from libevrpc.settings import ServerSettings

__all__ = ["Presence"]

_WITHDRAW_S = 2.0
"""How long a stop waits for the registry to hear the goodbye."""

_LOOPBACK_NAMES = (
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
)
"""What hosts files call the loopback addresses; `x.localhost` is one by its own rule."""


class Presence:
    """Announces one server. Methods: the server's thread of the moment.

    Args:
        settings: registry target, advertised address, weight, tags.
        listened: the first address listened on.
        statistics: counters to derive the load from.

    Raises:
        ConfigError: the target is wrong, or the address to advertise leads nowhere.
    """

    def __init__(
        self,
        settings: ServerSettings,
        listened: str,
        statistics: Callable[[], ServerStatistics],
    ) -> None:
        target = parse_target(settings.registry)
        self._settings = settings
        self._address = advertised_address(settings.advertise or listened, target)
        self._registrar = open_registrar(target, settings)
        self._meter = LoadMeter(statistics, settings.workers)

    def start(self, offers: Mapping[str, Offer]) -> None:
        """Announce what is offered, by the services' full names."""
        self._registrar.start(self._announcement(offers), self._meter.sample)

    def update(self, offers: Mapping[str, Offer]) -> None:
        """Announce other offers."""
        self._registrar.update(self._announcement(offers))

    def withdraw(self) -> None:
        """Say goodbye and end."""
        self._registrar.withdraw(_WITHDRAW_S)
        self._registrar.close()

    def _announcement(self, offers: Mapping[str, Offer]) -> Announcement:
        return Announcement(
            self._address,
            tuple(sorted(offers)),
            self._settings.weight,
            self._settings.tags,
            methods=tuple(sorted(_methods_of(offers))),
        )


def _methods_of(offers: Mapping[str, Offer]) -> Iterator[str]:
    """Yield ``pkg.Service/Method`` of each method."""
    for service, offer in offers.items():
        names = offer[1] if isinstance(offer, tuple) else offer.methods_by_name
        yield from (f"{service}/{name}" for name in names)


def advertised_address(address: str, target: Target) -> str:
    """Return the address that others may dial.

    Raises:
        ConfigError: a wildcard, or loopback although the registry is on another machine.
    """
    endpoint = parse_endpoint(address)
    hint = "; set advertise = HOST:PORT to what clients can dial"
    if _is_unspecified(endpoint.host):
        raise ConfigError(f"cannot advertise {address}: it means every interface{hint}")
    remote = [each for each in target.endpoints if not _is_local(each.host)]
    if remote and _is_local(endpoint.host):
        raise ConfigError(
            f"cannot advertise {address}: {remote[0].address} is on another machine{hint}"
        )
    return endpoint.address


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    """True for what only this machine can dial: a path (no host), loopback and its names."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        name = host.lower().removesuffix(".")
        return name in ("", *_LOOPBACK_NAMES) or name.endswith(".localhost")


class LoadMeter:
    """Turns counters and the process's CPU time into a load. One thread at a time."""

    def __init__(self, statistics: Callable[[], ServerStatistics], workers: int) -> None:
        self._statistics = statistics
        self._workers = workers
        self._processors = _usable_processors()
        self._then_s = monotonic_s()
        self._calls = 0
        self._busy_s = 0.0
        self._cpu_s = _cpu_seconds()

    def sample(self) -> LoadSample:
        """Return the load since the previous sample."""
        import psutil

        now_s = monotonic_s()
        span_s = max(1e-3, now_s - self._then_s)
        statistics = self._statistics()
        cpu_s = _cpu_seconds()
        cpu = min(1.0, (cpu_s - self._cpu_s) / span_s / self._processors)
        qps = max(0, statistics.calls - self._calls) / span_s
        busy = min(1.0, (statistics.worker_busy_s - self._busy_s) / span_s / self._workers)
        self._then_s, self._calls, self._cpu_s = now_s, statistics.calls, cpu_s
        self._busy_s = statistics.worker_busy_s
        return LoadSample(
            utilisation=max(cpu, busy),
            cpu=cpu,
            memory_bytes=psutil.Process().memory_info().rss,
            in_flight=statistics.in_flight,
            qps=qps,
            connections=statistics.connections,
        )


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def _usable_processors() -> int:
    """Return how many processors our threads can keep busy: one where they share an interpreter."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
