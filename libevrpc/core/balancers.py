"""Balancers: which endpoint gets the next call.

Every balancer keeps live counters per endpoint (its own calls in flight, its own measured
latency) and sets failing endpoints aside; they differ in how they choose among the rest.
Users subclass `Balancer` and override `choose`.

Many caller threads share one balancer **under one lock that the client owns**: no method
here takes a lock, and none may be called without it.

Rounds of a call: ``pick`` -> ``started`` -> ``finished``; ``set_aside`` where the transport
failed. A call that carries a key goes to the owner of the key's slot and its stand-ins,
whatever the balancer.
"""

from __future__ import annotations

import heapq
from bisect import bisect
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType

from libevrpc.core.backoff import Randomness
from libevrpc.core.breaker import NEVER_S, BreakerPolicy
from libevrpc.core.endpoint_state import EndpointState
from libevrpc.core.endpoints import Endpoint, EndpointSet
from libevrpc.core.slots import SlotTable
from libevrpc.errors import ConfigError, UsageError

__all__ = [
    "BALANCERS",
    "Balancer",
    "EndpointState",
    "P2cBalancer",
    "RandomBalancer",
    "RoundRobinBalancer",
    "VnodeBalancer",
    "WeightedBalancer",
    "balancer_named",
]

LATENCY_SLACK_S = 0.003
"""Latencies this close count as equal too: a thread that starts takes as long."""
LATENCY_TOLERANCE = 2.0
"""Latencies within this factor count as equal: else a lone caller would always prefer the
one server that is a hair faster."""
MEAN_WEIGHT = 1 / 64
"""Weight of the newest latency in the mean over all endpoints."""
ASIDE_SHARE_MAX = 0.5
"""Error rates set at most this share of the endpoints aside (an overload that is everybody's
must not leave one server alone with it); transport failures always do."""


class Balancer:
    """Base of all balancers: counters, breakers, probes, keys. Under the client's lock.

    Subclasses override `choose`, and `refreshed` if they prepare something per set.

    Attributes:
        mean_s: smoothed latency over all endpoints, seconds; 0 before the first answer.
        probe_by_calls: True: a call that is due as a probe goes to an endpoint set aside
            (retries cover it); False: the owner probes by itself with `claim_probe`.
        complain: takes what a subclass raises in `refreshed`; None: it goes to the caller.
    """

    complain: Callable[[Exception], object] | None = None

    def __init__(
        self,
        rng: Randomness,
        *,
        policy: BreakerPolicy | None = None,
        probe_by_calls: bool = True,
    ) -> None:
        """Start with no endpoint; `rng` is any `random.Random`."""
        self.rng = rng
        self.mean_s = 0.0
        self.probe_by_calls = probe_by_calls
        self._policy = policy or BreakerPolicy()
        self._set = EndpointSet(())
        self._slots: SlotTable | None = None
        self._states: dict[str, EndpointState] = {}
        self._ready: list[EndpointState] = []
        self._aside: list[EndpointState] = []
        self._probe_due_s = NEVER_S
        self._limited = False

    # -- for subclasses ---------------------------------------------------------------

    def choose(self, ready: Sequence[EndpointState], now_s: float) -> EndpointState:
        """Return one of `ready` (never empty; weights above 0, unless none has one).

        `ready` is the very list given to `refreshed`, or a shorter one on a retry.
        """
        return ready[int(self.rng.random() * len(ready))]

    def refreshed(self, ready: Sequence[EndpointState], endpoints: EndpointSet) -> None:
        """Note that the list of endpoints to choose from is another one now.

        A client logs what this raises, and goes on with the list.
        """

    # -- for the client ---------------------------------------------------------------

    def update(self, endpoints: EndpointSet) -> None:
        """Take what the registry says; counters of known addresses go on.

        Raises:
            UsageError: the slot table names an endpoint that the set does not.
        """
        slots = endpoints.slots
        addresses = {endpoint.address for endpoint in endpoints.endpoints}
        if slots is not None and not addresses.issuperset(m.address for m in slots.members):
            raise UsageError("the slot table of an EndpointSet names endpoints that it lacks")
        known = self._states
        self._states = {}
        self._limited = any(endpoint.limit for endpoint in endpoints.endpoints)
        for endpoint in endpoints.endpoints:
            state = known.get(endpoint.address) or EndpointState(endpoint, self._policy)
            state.take(endpoint)
            if not self._limited and len(endpoints.endpoints) == 1:
                state.in_flight = 0  # nobody counts where there is nothing to choose
            self._states[endpoint.address] = state
        self._set = endpoints
        self._slots = slots
        self._refresh()

    def pick(
        self, now_s: float, key: bytes | None = None, excluded: Collection[Endpoint] = ()
    ) -> Endpoint | None:
        """Return the endpoint for the next call.

        Preference: an endpoint whose probe is due; the owner of the key's slot, then its
        stand-ins; what `choose` says; endpoints of weight 0; of those set aside the one
        whose probe is due soonest.

        Args:
            now_s: the present.
            key: sends equal keys to the same endpoint.
            excluded: endpoints this call has tried already.

        Returns:
            None if there is no endpoint that is neither excluded nor at its limit.
        """
        if self._limited:
            excluded = (*excluded, *(each.endpoint for each in self._states.values() if each.full))
        if key is not None:
            owner = self._owner_of(key, now_s, excluded)
            if owner is not None:
                return owner.endpoint
        elif now_s >= self._probe_due_s and self.probe_by_calls:
            probe = self._due_probe(now_s, excluded)
            if probe is not None:
                return probe.endpoint
        ready: Sequence[EndpointState] = self._ready
        if excluded:
            tried = {endpoint.address for endpoint in excluded}
            ready = [state for state in ready if state.address not in tried]
        if ready:
            return self.choose(ready, now_s).endpoint
        return self._last_resort(now_s, excluded)

    def limit_reached(self) -> str:
        """Say that every endpoint is at its limit; empty: that is not so, or there is none."""
        states = self._states.values()
        if not states or not all(state.full for state in states):
            return ""
        limits = sorted({state.limit for state in states})
        told = f"{limits[0]}" if len(limits) == 1 else f"{limits[0]}..{limits[-1]}"
        return f"all {len(states)} servers have as many calls of this client as they allow ({told})"

    def started(self, endpoint: Endpoint, now_s: float) -> None:
        """Count a call as in flight on `endpoint`."""
        state = self._states.get(endpoint.address)
        if state is not None:
            state.in_flight += 1
            state.calls += 1

    def finished(self, endpoint: Endpoint, now_s: float, latency_s: float, ok: bool) -> None:
        """Count a started call as ended.

        Args:
            endpoint: where it ran; one that has left the set is ignored.
            now_s: the present.
            latency_s: from start to end; 0: none worth noting (one-way, or it waited for a dial).
            ok: False where the endpoint is at fault: transport failure, time-out, stopping
                (2003), over its limit (2004). An application's own error is an answer: True.
        """
        state = self._states.get(endpoint.address)
        if state is None:
            return
        if state.in_flight:
            state.in_flight -= 1
        if ok and latency_s > 0.0:
            mean_s = self.mean_s
            self.mean_s = mean_s + (latency_s - mean_s) * MEAN_WEIGHT if mean_s else latency_s
            state.measured(latency_s, now_s)
        elif not ok:
            state.failures += 1
        may_open = ok or len(self._aside) < len(self._states) * ASIDE_SHARE_MAX
        if state.breaker.result(ok, now_s, may_open):
            self._refresh()
        elif not state.breaker.closed:
            self._plan_probe()

    def set_aside(self, endpoint: Endpoint, now_s: float) -> None:
        """Stop using `endpoint` at once: its transport failed or it is stopping (2003).

        Call it before `finished`, once or once per call of the broken connection.
        """
        state = self._states.get(endpoint.address)
        if state is None:
            return
        if state.breaker.trip(now_s):
            self._refresh()
        else:
            self._plan_probe()

    def claim_probe(self, now_s: float) -> Endpoint | None:
        """Return an endpoint that is due to be probed, if any; answer with `probed`."""
        if now_s < self._probe_due_s:
            return None
        probe = self._due_probe(now_s, ())
        return None if probe is None else probe.endpoint

    def probed(self, endpoint: Endpoint, now_s: float, ok: bool) -> None:
        """Tell how a probe outside of calls ended; a good one brings the endpoint back."""
        state = self._states.get(endpoint.address)
        if state is None or state.breaker.closed:
            return
        state.breaker.start_probe(now_s)
        state.breaker.result(ok, now_s)
        self._refresh()

    @property
    def next_probe_s(self) -> float:
        """When the next probe is due; infinity if nothing is set aside."""
        return self._probe_due_s

    def states(self) -> list[EndpointState]:
        """Return the endpoints' states, in the registry's order, to read."""
        return list(self._states.values())

    # -- inside -----------------------------------------------------------------------

    def _refresh(self) -> None:
        states = self._states.values()
        self._ready = [state for state in states if state.breaker.closed and state.weight > 0.0]
        self._aside = [state for state in states if not state.breaker.closed]
        self._plan_probe()
        try:
            self.refreshed(self._ready, self._set)
        except Exception as exc:
            if self.complain is None:
                raise
            self.complain(exc)

    def _plan_probe(self) -> None:
        self._probe_due_s = min(
            (state.breaker.probe_due_s for state in self._aside), default=NEVER_S
        )

    def _due_probe(self, now_s: float, excluded: Collection[Endpoint]) -> EndpointState | None:
        tried = {endpoint.address for endpoint in excluded}
        for state in self._aside:
            if state.breaker.probe_due_s <= now_s and state.address not in tried:
                return self._probe(state, now_s)
        return None

    def _probe(self, state: EndpointState, now_s: float) -> EndpointState:
        state.breaker.start_probe(now_s)
        self._plan_probe()
        return state

    def _owner_of(
        self, key: bytes, now_s: float, excluded: Collection[Endpoint]
    ) -> EndpointState | None:
        if not self._states:
            return None
        slots = self._slots
        if slots is None:
            slots = self._slots = SlotTable(self._set.endpoints)
        slot = slots.slot_of(key)
        state = self._states[slots.owner(slot).address]
        if not excluded and state.breaker.closed and state.weight > 0.0:
            return state
        tried = {endpoint.address for endpoint in excluded}
        for endpoint in slots.ranking(slot):
            state = self._states[endpoint.address]
            if state.address in tried:
                continue
            if not state.breaker.closed:
                if self.probe_by_calls and state.breaker.probe_due_s <= now_s:
                    return self._probe(state, now_s)
            elif state.weight > 0.0:
                return state
        return None

    def _last_resort(self, now_s: float, excluded: Collection[Endpoint]) -> Endpoint | None:
        tried = {endpoint.address for endpoint in excluded}
        left = [state for state in self._states.values() if state.address not in tried]
        light = [state for state in left if state.breaker.closed]
        if light:
            return self.choose(light, now_s).endpoint
        if not left:
            return None
        soonest = min(left, key=lambda state: state.breaker.probe_due_s)
        return self._probe(soonest, now_s).endpoint


class RandomBalancer(Balancer):
    """``random``: any endpoint, all alike, whatever their weights."""


class RoundRobinBalancer(Balancer):
    """``round_robin``: one after the other, whatever their weights."""

    _turn = -1

    def choose(self, ready: Sequence[EndpointState], now_s: float) -> EndpointState:
        """Return the next one."""
        self._turn = (self._turn + 1) % len(ready)
        return ready[self._turn]


class WeightedBalancer(Balancer):
    """``weighted``: smooth weighted round robin.

    Earliest deadline first: each endpoint's next turn comes 1 / weight later, so turns are
    spread evenly and a pick costs O(log n).
    """

    _now_turn = 0.0
    _prepared: Sequence[EndpointState] = ()

    def __init__(
        self,
        rng: Randomness,
        *,
        policy: BreakerPolicy | None = None,
        probe_by_calls: bool = True,
    ) -> None:
        super().__init__(rng, policy=policy, probe_by_calls=probe_by_calls)
        self._turns: list[tuple[float, int]] = []

    def refreshed(self, ready: Sequence[EndpointState], endpoints: EndpointSet) -> None:
        """Queue the turns again; endpoints that stay keep theirs."""
        old = {self._prepared[index].address: turn for turn, index in self._turns}
        now_turn = self._now_turn
        turns = [
            (max(now_turn, old.get(state.address, now_turn + 0.5 / state.weight)), index)
            for index, state in enumerate(ready)
        ]
        heapq.heapify(turns)
        self._turns = turns
        self._prepared = ready

    def choose(self, ready: Sequence[EndpointState], now_s: float) -> EndpointState:
        """Return whose turn it is; on a retry the least busy of the others."""
        if ready is not self._prepared:
            return min(ready, key=lambda state: (state.in_flight + 1) / (state.weight or 1.0))
        turn, index = self._turns[0]
        state = ready[index]
        heapq.heapreplace(self._turns, (turn + 1.0 / state.weight, index))
        self._now_turn = turn
        return state


class P2cBalancer(Balancer):
    """``p2c``: the better of two endpoints drawn by weight.

    Better is the smaller ``in flight / weight``; the first drawn wins a tie, so idle
    servers share by weight. Where one's latency is more than LATENCY_TOLERANCE times the
    other's and LATENCY_SLACK_S, ``(in flight + 1) * latency / weight`` decides.
    """

    _drawn_from: Sequence[EndpointState] = ()
    _prepared: Sequence[EndpointState] = ()
    _sums: Sequence[float] = ()

    def refreshed(self, ready: Sequence[EndpointState], endpoints: EndpointSet) -> None:
        """Prepare to draw by weight."""
        self._prepared = ready
        self._drawn_from = drawn_from = self.drawn_from(ready, endpoints)
        equal = len({state.weight for state in drawn_from}) <= 1
        self._sums = () if equal else list(accumulate(state.weight for state in drawn_from))

    def drawn_from(
        self, ready: Sequence[EndpointState], endpoints: EndpointSet
    ) -> Sequence[EndpointState]:
        """Return the endpoints to draw from where no key says which; all of them here."""
        return ready

    def choose(self, ready: Sequence[EndpointState], now_s: float) -> EndpointState:
        """Draw two, return the better one."""
        sums: Sequence[float] = ()
        if ready is self._prepared:
            ready, sums = self._drawn_from, self._sums
        count = len(ready)
        if count == 1:
            return ready[0]
        random = self.rng.random
        if sums:
            total = sums[-1]
            first = min(bisect(sums, random() * total), count - 1)
            second = min(bisect(sums, random() * total), count - 1)
            if second == first:
                second = first - 1
        else:
            first = int(random() * count)
            second = int(random() * (count - 1))
            if second >= first:
                second += 1
        return self.better(ready[first], ready[second], now_s)

    def better(self, one: EndpointState, two: EndpointState, now_s: float) -> EndpointState:
        """Return the one that will answer sooner."""
        one_weight, two_weight = one.weight or 1.0, two.weight or 1.0
        mean_s = self.mean_s
        if mean_s:
            one_s = one.latency_s(now_s, mean_s)
            two_s = two.latency_s(now_s, mean_s)
            if (
                one_s > LATENCY_TOLERANCE * two_s + LATENCY_SLACK_S
                or two_s > LATENCY_TOLERANCE * one_s + LATENCY_SLACK_S
            ):
                one_cost = (one.in_flight + 1) * one_s * two_weight
                return one if one_cost <= (two.in_flight + 1) * two_s * one_weight else two
        return one if one.in_flight * two_weight <= two.in_flight * one_weight else two


class VnodeBalancer(P2cBalancer):
    """``vnode``: p2c among the servers under this client's own virtual nodes.

    With no vnodes known, or none of their owners usable, among all servers.
    """

    def drawn_from(
        self, ready: Sequence[EndpointState], endpoints: EndpointSet
    ) -> Sequence[EndpointState]:
        """Return the usable owners of the client's vnodes, else everybody."""
        slots = endpoints.slots
        if slots is None:
            return ready
        owners = {slots.owner(slot).address for slot in endpoints.vnodes}
        return [state for state in ready if state.address in owners] or ready


BALANCERS: Mapping[str, type[Balancer]] = MappingProxyType(
    {
        "p2c": P2cBalancer,
        "round_robin": RoundRobinBalancer,
        "random": RandomBalancer,
        "weighted": WeightedBalancer,
        "vnode": VnodeBalancer,
    }
)
"""Names that settings accept."""


def balancer_named(name: str, rng: Randomness, *, policy: BreakerPolicy | None = None) -> Balancer:
    """Make a balancer by its name; `policy` is when it sets endpoints aside. Any thread.

    Raises:
        ConfigError: no balancer has that name; the text lists those that exist.
    """
    make = BALANCERS.get(name)
    if make is None:
        raise ConfigError(f"balancer {name!r} is unknown; write one of {', '.join(BALANCERS)}")
    return make(rng, policy=policy)
