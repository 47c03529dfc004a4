"""A server's presence at its registry: what it announces, and how busy it says it is."""

from __future__ import annotations

import ipaddress
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import parse_endpoint
from libevrpc.core.targets import Target, parse_targets
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Announcement, LoadSample, Registrar
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
    """Announces one server, at one registry or several. Methods: one thread at a time.

    Args:
        settings: registry targets, advertised address, what is told with it.
        listened: the first address listened on.
        statistics: counters to derive the load from.

    Raises:
        ConfigError: a target is wrong, or the address to advertise leads nowhere.
    """

    def __init__(
        self,
        settings: ServerSettings,
        listened: str,
        statistics: Callable[[], ServerStatistics],
    ) -> None:
        targets = parse_targets(settings.registry)
        address = settings.advertise or listened
        for each in targets:
            self._address = advertised_address(address, each)
        self._registrars = [open_registrar(each, settings) for each in targets]
        self._samples = [LoadMeter(statistics, settings.workers).sample for _ in targets]

    def start(self, offers: Mapping[str, Offer], settings: ServerSettings) -> None:
        """Announce what is offered, by the services' full names."""
        announcement = self._announcement(offers, settings)
        for registrar, sample in zip(self._registrars, self._samples, strict=True):
            registrar.start(announcement, sample)

    def update(self, offers: Mapping[str, Offer], settings: ServerSettings) -> None:
        """Announce other offers, or other words about them."""
        announcement = self._announcement(offers, settings)
        for registrar in self._registrars:
            registrar.update(announcement)

    def withdraw(self) -> None:
        """Say goodbye everywhere and end; one registry that is down costs the others nothing."""
        others = [
            threading.Thread(target=_withdraw, args=(each,), name="libevrpc-leave", daemon=True)
            for each in self._registrars[1:]
        ]
        for thread in others:
            thread.start()
        _withdraw(self._registrars[0])
        for thread in others:
            thread.join()

    def _announcement(self, offers: Mapping[str, Offer], settings: ServerSettings) -> Announcement:
        return Announcement(
            self._address,
            tuple(sorted(offers)),
            settings.weight,
            settings.tags,
            settings.limit,
            methods=tuple(sorted(_methods_of(offers))),
        )


def _withdraw(registrar: Registrar) -> None:
    registrar.withdraw(_WITHDRAW_S)
    registrar.close()


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
