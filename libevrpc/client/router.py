"""Where calls go: the endpoints of one service, their channels, and the choice among them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from random import Random

from libevrpc.channel.call import ClientCall
from libevrpc.channel.channel import Channel
from libevrpc.clock import monotonic_s
from libevrpc.core.balancers import Balancer
from libevrpc.core.endpoints import Endpoint, EndpointSet, doubled
from libevrpc.core.retry import GiveUp, Retry, RetryBudget, RetryPolicy
from libevrpc.errors import Errno, RpcError, StatusCode
from libevrpc.loop.eventloop import EventLoop

__all__ = ["Router"]

log = logging.getLogger(__name__)

_LOST_EVERY_S = 1.0
"""How often lost one-way calls are told of."""
_PROBE_S = 1.0
"""How long a probe may take to be answered."""
_AT_FAULT = (
    StatusCode.UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.RESOURCE_EXHAUSTED,
)
"""Statuses that say something about the server, not about the call."""
_NEVER_S = float("inf")


def _knows_nothing() -> None:
    """Stand in for a registry."""


def _complainer(balancer: str) -> Callable[[Exception], object]:
    """Return what names a program's own balancer, not the registry whose news it failed on."""
    text = "balancer %s raised in refreshed: the servers are called all the same"
    return lambda exc: log.error(text, balancer, exc_info=exc)


class Router:
    """Endpoints, channels and balancer of one service. All methods: any thread.

    The balancer and the retry budget live under this object's lock.

    Args:
        balancer: chooses; nobody else may use it.
        budget: credits for retries.
        policy: what is retried.
        rng: jitter.
        loop: the background loop, for probes.
        open_channel: makes the channel of an endpoint.
    """

    __slots__ = (
        "_balancer",
        "_budget",
        "_channels",
        "_endpoints",
        "_leaving",
        "_lock",
        "_loop",
        "_lost",
        "_lost_told_s",
        "_open_channel",
        "_policy",
        "_probe_at_s",
        "_rng",
        "_sole",
        "_waiters",
        "balances",
        "closed",
        "confirmed",
        "ended",
        "explain",
        "known",
        "remembered",
    )

    def __init__(
        self,
        balancer: Balancer,
        budget: RetryBudget,
        policy: RetryPolicy,
        rng: Random,
        loop: EventLoop,
        open_channel: Callable[[Endpoint], Channel],
    ) -> None:
        balancer.probe_by_calls = False  # a frozen server would swallow the call
        balancer.complain = _complainer(type(balancer).__name__)
        self.known = threading.Event()
        """Set while there is an endpoint to call."""
        self.remembered = False
        """True while all endpoints are left from an earlier process, and may be long gone."""
        self.explain: Callable[[], RpcError | None] = _knows_nothing
        """Says why there is nobody to call, as far as the registry knows."""
        self.confirmed = threading.Event()
        """Set once the registry itself has named the endpoints."""
        self.balances = True
        """False while there is exactly one endpoint: nothing to choose, nothing to count."""
        self.closed = False
        """No call is started or retried any more."""
        self.ended = threading.Event()
        """Set with `closed`: what waits before another try need not."""
        self._balancer = balancer
        self._budget = budget
        self._policy = policy
        self._rng = rng
        self._loop = loop
        self._open_channel = open_channel
        self._lock = threading.Lock()
        self._channels: dict[str, Channel] = {}
        self._leaving: list[Channel] = []
        self._endpoints: tuple[Endpoint, ...] = ()
        self._sole: tuple[Endpoint, Channel] | None = None
        self._probe_at_s = _NEVER_S
        self._lost = 0
        self._lost_told_s = -_NEVER_S
        self._waiters: dict[tuple[Callable[[], object], threading.Event], None] = {}

    def update(self, endpoints: EndpointSet) -> None:
        """Take a new set; channels of endpoints that left end with their last call.

        An address that is there twice, with two transports, is taken once: the first one counts.
        """
        twice = doubled(endpoints.endpoints)
        if twice:
            text = "an address is one server: left out is the second transport (%s) of %s"
            log.warning(text, twice[0].transport or "none", twice[0])
            first = {each.address: each for each in reversed(endpoints.endpoints)}
            kept = (each for each in endpoints.endpoints if first[each.address] is each)
            endpoints = replace(endpoints, endpoints=tuple(kept))
        with self._lock:
            if self.closed:
                return
            self._balancer.update(endpoints)
            self._endpoints = endpoints.endpoints
            present = {(each.address, each.transport) for each in endpoints.endpoints}
            gone = [
                self._channels.pop(address)
                for address, channel in list(self._channels.items())
                if (address, channel.endpoint.transport) not in present
            ]
            self._leaving = [each for each in self._leaving if not each.ended] + gone
            self._sole = None
            self.balances = len(endpoints.endpoints) != 1 or bool(endpoints.endpoints[0].limit)
            if not self.balances:
                endpoint = endpoints.endpoints[0]
                self._sole = (endpoint, self._channel(endpoint))
            self.remembered = endpoints.remembered
            if endpoints.endpoints:
                self.known.set()
            else:
                self.known.clear()
            if not endpoints.remembered:
                self.confirmed.set()
            waiters = self._ready_waiters()
        for channel in gone:
            channel.retire()
        for waiter in waiters:
            waiter()

    def when(self, news: threading.Event, waiter: Callable[[], object]) -> None:
        """Run `waiter` once `news`, `known` or `confirmed`, is set, at once if it is.

        One that waits for both is run for each.
        """
        with self._lock:
            if not news.is_set():
                self._waiters[waiter, news] = None
                return
        waiter()

    def forget(self, waiter: Callable[[], object]) -> None:
        """Drop a waiter whose time is over."""
        with self._lock:
            for news in (self.known, self.confirmed):
                self._waiters.pop((waiter, news), None)

    def _ready_waiters(self) -> list[Callable[[], object]]:
        """Take out who waits no longer. Under the lock."""
        ready = [each for each in self._waiters if each[1].is_set()]
        for each in ready:
            del self._waiters[each]
        return [waiter for waiter, _ in ready]

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return what the registry last said."""
        return self._endpoints

    def trouble(self) -> RpcError | None:
        """Return why there is nobody to call, as far as the registry knows."""
        return None if self.closed else self.explain()

    def vouches_for(self, endpoint: Endpoint) -> bool:
        """Tell whether the registry itself names `endpoint`, or it does not matter any more."""
        if self.remembered:
            return False
        return self.closed or any(each.address == endpoint.address for each in self._endpoints)

    def knows_others(self, tried: Collection[Endpoint]) -> bool:
        """Tell whether there is an endpoint that is not among `tried`."""
        addresses = {endpoint.address for endpoint in tried}
        return any(endpoint.address not in addresses for endpoint in self._endpoints)

    def pick(
        self, key: bytes | None, tried: Collection[Endpoint], now_s: float
    ) -> tuple[Endpoint, Channel] | None:
        """Choose an endpoint and count a call as started on it; None: there is none.

        Where every endpoint has been tried, they are tried again.

        Raises:
            RpcError: the client is closed, or every endpoint is at its limit.
        """
        sole = self._sole
        if sole is not None:
            return sole
        with self._lock:
            if self.closed:
                raise RpcError(StatusCode.UNAVAILABLE, "client is closed", errno=Errno.CLOSED)
            balancer = self._balancer
            if not tried:
                self._budget.called(now_s)
            endpoint = balancer.pick(now_s, key, tried)
            if endpoint is None and tried:
                endpoint = balancer.pick(now_s, key)
            if endpoint is None:
                full = balancer.limit_reached()
                if full:
                    raise RpcError(StatusCode.RESOURCE_EXHAUSTED, full)
                return None
            balancer.started(endpoint, now_s)
            return endpoint, self._channel(endpoint)

    def pick_only(self, endpoint: Endpoint, now_s: float) -> tuple[Endpoint, Channel]:
        """Count a call as started on `endpoint` and return its channel.

        Raises:
            RpcError: the client is closed, or the endpoint has left the set.
        """
        with self._lock:
            if self.closed:
                raise RpcError(StatusCode.UNAVAILABLE, "client is closed", errno=Errno.CLOSED)
            if all(each.address != endpoint.address for each in self._endpoints):
                text = f"{endpoint.address} has left"
                raise RpcError(StatusCode.UNAVAILABLE, text, errno=Errno.FAILED_SOCKET)
            self._budget.called(now_s)
            if self._sole is None:
                self._balancer.started(endpoint, now_s)
            return endpoint, self._channel(endpoint)

    def succeeded(self, endpoint: Endpoint, now_s: float, latency_s: float) -> None:
        """Count a started call as answered; a latency of 0 is none worth noting."""
        if self._sole is None:
            with self._lock:
                self._balancer.finished(endpoint, now_s, latency_s, True)

    def failed(
        self, endpoint: Endpoint, error: RpcError, now_s: float, latency_s: float, broken: bool
    ) -> None:
        """Count a started call as failed; `broken`: its transport failed, or it is stopping."""
        if self._sole is not None:
            return
        with self._lock:
            if broken:
                self._balancer.set_aside(endpoint, now_s)
            at_fault = broken or error.code in _AT_FAULT
            self._balancer.finished(endpoint, now_s, latency_s, not at_fault)
            due_s = self._balancer.next_probe_s
        if due_s < self._probe_at_s:
            self._loop.post(self._arm_probe)

    def next_step(
        self,
        error: RpcError,
        *,
        sent: bool,
        idempotent: bool,
        retries: int,
        now_s: float,
        deadline_s: float,
    ) -> Retry | GiveUp:
        """Decide on a failed try; see `RetryPolicy.next_step`."""
        if self.closed:
            return GiveUp("client is closed")
        with self._lock:
            return self._policy.next_step(
                error,
                sent=sent,
                idempotent=idempotent,
                retries=retries,
                budget=self._budget,
                rng=self._rng,
                now_s=now_s,
                deadline_s=deadline_s,
            )

    def lose(self) -> int:
        """Count a one-way call that could not be sent; returns how many to tell of now, or 0.

        They are told of once in `_LOST_EVERY_S`, however many there are.
        """
        with self._lock:
            self._lost += 1
            now_s = monotonic_s()
            if now_s - self._lost_told_s < _LOST_EVERY_S:
                return 0
            self._lost_told_s = now_s
            lost, self._lost = self._lost, 0
            return lost

    def settle(self, until_s: float) -> None:
        """Wait for dials whose one-way requests are still to be sent. No loop thread."""
        with self._lock:
            channels = [*self._channels.values(), *self._leaving]
        for channel in channels:
            channel.settle(until_s - monotonic_s())

    def close(self, text: str) -> None:
        """End every channel."""
        with self._lock:
            self.closed = True
            self.ended.set()
            self.remembered = False
            self.explain = _knows_nothing
            self.known.set()  # whoever waits for an endpoint need not wait any longer
            self.confirmed.set()
            channels = [*self._channels.values(), *self._leaving]
            self._channels.clear()
            self._leaving = []
            self._sole = None
            self._endpoints = ()
            waiters = self._ready_waiters()
        for channel in channels:
            channel.close(text)
        for waiter in waiters:
            waiter()

    def _channel(self, endpoint: Endpoint) -> Channel:
        """Return the channel of an endpoint. Under the lock."""
        channel = self._channels.get(endpoint.address)
        if channel is None:
            channel = self._channels[endpoint.address] = self._open_channel(endpoint)
        return channel

    # -- probes: loop thread ------------------------------------------------------------

    def _arm_probe(self) -> None:
        with self._lock:
            due_s = _NEVER_S if self.closed else self._balancer.next_probe_s
        if due_s < self._probe_at_s:
            self._probe_at_s = due_s
            self._loop.call_at(due_s, self._probe)

    def _probe(self) -> None:
        """Ping what is due; any answer, even an error of a foreign server, is a sign of life."""
        self._probe_at_s = _NEVER_S
        now_s = monotonic_s()
        while True:
            with self._lock:
                endpoint = None if self.closed else self._balancer.claim_probe(now_s)
                if endpoint is None:
                    break
                channel = self._channel(endpoint)
            self._ping(endpoint, channel, now_s)
        self._arm_probe()

    def _ping(self, endpoint: Endpoint, channel: Channel, now_s: float) -> None:
        connection = channel.connection()
        call = ClientCall(
            connection.next_id(), now_s + _PROBE_S, lambda done: self._probed(endpoint, done)
        )
        connection.probe(call)

    def _probed(self, endpoint: Endpoint, call: ClientCall) -> None:
        alive = call.failure is None
        if call.reply is not None and call.reply.error_code == Errno.STOPPING:
            alive = False
        log.debug("probe peer=%s alive=%s", endpoint.address, alive)
        with self._lock:
            self._balancer.probed(endpoint, monotonic_s(), alive)
        self._arm_probe()
